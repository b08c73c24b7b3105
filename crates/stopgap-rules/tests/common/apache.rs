//! A real Apache httpd on a loopback port, for as long as the value lives, and an application behind it that
//! counts.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

pub struct Apache {
    child: Child,
    port: u16,
    folder: PathBuf,
    open: Option<TcpStream>,
    /// The whole of the last answer.
    pub last: Vec<u8>,
}

/// What the client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The server said that it closes the connection.
    pub close: bool,
}

impl Answer {
    pub fn of(status: u16) -> Answer {
        Answer { status, close: false }
    }

    /// The form of AbortRequest.
    pub const REFUSED: Answer = Answer { status: 403, close: true };
}

/// Prints and returns false where Apache is not installed; in CI that is a failure.
pub fn installed(test: &str) -> bool {
    let found =
        Command::new("apache2").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "apache2 is not installed");
        println!("skipped (no apache2): {test}");
    }
    found
}

/// One virtual host: its name, and what stands in it.
pub struct Site {
    pub name: String,
    pub inside: String,
}

/// Answers every address with 200, from a file.
pub const FILE: &str =
    "AliasMatch \"(?s)^.*$\" \"${FOLDER}/htdocs/index.html\"\nAllowEncodedSlashes NoDecode\n";

impl Apache {
    /// Starts it with this text at the server level, and these virtual hosts. `${FOLDER}` is its folder.
    pub fn start(server: &str, sites: &[Site]) -> Apache {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stopgap-apache-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("htdocs")).unwrap();
        std::fs::write(folder.join("htdocs/index.html"), "ok\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.join("apache.conf"), config(&folder, port, server, sites)).unwrap();
        let child = Command::new("apache2")
            .args(["-D", "FOREGROUND", "-f"])
            .arg(folder.join("apache.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut apache = Apache { child, port, folder, open: None, last: Vec::new() };
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", apache.port)).is_ok() {
                return apache;
            }
            if apache.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let told = std::fs::read_to_string(apache.folder.join("stderr")).unwrap();
        panic!("Apache does not start: {told}{}", apache.errors());
    }

    /// Sends a request and reads the answer. Nothing: the connection was closed with no byte.
    pub fn ask(&mut self, request: &[u8]) -> Option<Answer> {
        for _ in 0..2 {
            let fresh = self.open.is_none();
            let mut stream = match self.open.take() {
                Some(stream) => stream,
                None => {
                    let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    stream
                }
            };
            if stream.write_all(request).is_err() && !fresh {
                continue;
            }
            match read(&mut stream, request.starts_with(b"HEAD ")) {
                // A connection that was used before may have been closed just now.
                None if !fresh => continue,
                None => return None,
                Some((answer, whole)) => {
                    self.last = whole;
                    self.open = (!answer.close).then_some(stream);
                    return Some(answer);
                }
            }
        }
        unreachable!("the second turn is on a fresh connection")
    }

    /// Everything that comes back on a connection of its own, until it is closed.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// What it logged.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // Its worker processes end with it only where it is asked.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn config(folder: &std::path::Path, port: u16, server: &str, sites: &[Site]) -> String {
    let path = folder.display();
    let modules: String = [
        "mpm_event",
        "authz_core",
        "authz_host",
        "access_compat",
        "alias",
        "setenvif",
        "dir",
        "headers",
        "proxy",
        "proxy_http",
        "rewrite",
        "env",
        "mime",
    ]
    .iter()
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
    .collect();
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let user = if root { "User nobody\nGroup nogroup\n" } else { "" };
    let hosts: String = sites
        .iter()
        .map(|site| {
            format!("<VirtualHost *:{port}>\nServerName {}\n{}\n</VirtualHost>\n", site.name, site.inside)
        })
        .collect();
    format!(
        "Define FOLDER {path}\nServerRoot {path}\nPidFile {path}/pid\nErrorLog {path}/error.log\nLogLevel warn\n\
         ServerName localhost\nListen 127.0.0.1:{port}\n{modules}{user}\
         ServerLimit 1\nStartServers 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\n\
         MaxSpareThreads 8\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
         DocumentRoot {path}/htdocs\nTypesConfig /dev/null\n\
         <Directory {path}/htdocs>\nAllowOverride All\nRequire all granted\n</Directory>\n\
         {server}\n{hosts}"
    )
}

/// The answer, and all of its bytes.
fn read(stream: &mut TcpStream, headless: bool) -> Option<(Answer, Vec<u8>)> {
    let mut whole = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        if let Some(head) = whole.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&whole[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            let length: usize = field("content-length:").and_then(|v| v.parse().ok()).unwrap_or(0);
            let length = if headless { 0 } else { length };
            if whole.len() >= head + 4 + length {
                let status = text.split(' ').nth(1)?.get(..3)?.parse().ok()?;
                let close = field("connection:").as_deref() == Some("close");
                return Some((Answer { status, close }, whole));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => whole.extend_from_slice(&buffer[..count]),
        }
    }
}

/// An application that answers 200 to everything, and counts what reaches it.
pub struct Origin {
    pub port: u16,
    count: Arc<AtomicUsize>,
}

impl Origin {
    pub fn start() -> Origin {
        Origin::answering(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\napp\n".to_vec()])
    }

    /// It gives the answer of the number in `X-Answer`, by default the first.
    pub fn answering(answers: Vec<Vec<u8>>) -> Origin {
        let answers = Arc::new(answers);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counted, answers) = (Arc::clone(&counted), Arc::clone(&answers));
                let Ok(mut stream) = stream else { continue };
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut buffer = [0u8; 16 * 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        head.extend_from_slice(&buffer[..count]);
                        if head.windows(4).any(|w| w == b"\r\n\r\n") {
                            counted.fetch_add(1, Ordering::SeqCst);
                            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                            let number = text.split("x-answer: ").nth(1).and_then(|t| t.lines().next());
                            let number: usize = number.map_or(0, |number| number.trim().parse().unwrap());
                            head.clear();
                            if stream.write_all(&answers[number]).is_err() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Origin { port, count }
    }

    /// Requests that have reached it.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
