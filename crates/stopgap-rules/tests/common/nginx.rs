//! A real nginx on a loopback port, for as long as the value lives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub struct Nginx {
    child: Child,
    port: u16,
    folder: PathBuf,
    open: Option<TcpStream>,
}

/// What the client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The connection was closed with no byte.
    Nothing,
    Status(u16),
}

/// Prints and returns false where nginx is not installed; in CI that is a failure.
pub fn installed(test: &str) -> bool {
    let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "nginx is not installed");
        println!("skipped (no nginx): {test}");
    }
    found
}

impl Nginx {
    /// Starts it with these maps, and a server block for each name, all with the same part of the hook.
    pub fn start(http: &str, server: &str, names: &[String]) -> Nginx {
        Nginx::start_main("", http, &blocks(server, names))
    }

    /// The same, with patterns compiled to machine code, as an operator may have it.
    pub fn start_jit(http: &str, server: &str, names: &[String]) -> Nginx {
        Nginx::start_main("pcre_jit on;", http, &blocks(server, names))
    }

    /// Starts it with these server blocks, in which `@PORT@` stands for the port.
    pub fn start_with(http: &str, servers: &str) -> Nginx {
        Nginx::start_main("", http, servers)
    }

    fn start_main(main: &str, http: &str, servers: &str) -> Nginx {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stopgap-rules-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .collect();
        let servers = servers.replace("@PORT@", &port.to_string());
        let config = format!(
            "{main} daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; {temporary} large_client_header_buffers 4 128k; keepalive_requests 1000000;\n\
             server_names_hash_bucket_size 256;\n{http}\n{servers} }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stderr(std::fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut nginx = Nginx { child, port, folder, open: None };
        for _ in 0..3_000 {
            if TcpStream::connect(("127.0.0.1", nginx.port)).is_ok() {
                return nginx;
            }
            if nginx.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(nginx.folder.join("stderr")).unwrap());
    }

    /// The port that it listens at.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a request head on a connection of its own, to this address, and reads everything that comes.
    pub fn whole_answer(&self, address: &str, head: &[u8]) -> String {
        let mut stream = TcpStream::connect((address, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = head.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        stream.write_all(&[&head[..end], b"\r\nConnection: close", &head[end..]].concat()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request head and reads the answer.
    pub fn ask(&mut self, head: &[u8]) -> Answer {
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
            if stream.write_all(head).is_err() && !fresh {
                continue;
            }
            match read(&mut stream) {
                // A connection that was used before may have been closed just now.
                None if !fresh => continue,
                None => return Answer::Nothing,
                Some((status, keep)) => {
                    self.open = keep.then_some(stream);
                    return Answer::Status(status);
                }
            }
        }
        unreachable!("the second turn is on a fresh connection")
    }

    /// What it logged as an error.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("error.log")).unwrap()).into_owned()
    }

    /// CPU time so far, in milliseconds (Linux counts in hundredths of a second).
    pub fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) * 10.0
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server block for each name, with this part of the hook.
fn blocks(server: &str, names: &[String]) -> String {
    names
        .iter()
        .map(|name| {
            format!(
                "server {{ listen 127.0.0.1:@PORT@; server_name {name};\n{server}\n\
                 location / {{ return 200 ok; }} }}\n"
            )
        })
        .collect()
}

/// The status, and whether the connection stays open.
fn read(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            let length: usize = field("content-length:").and_then(|v| v.parse().ok()).unwrap_or(0);
            if answer.len() >= head + 4 + length {
                let status = text.split(' ').nth(1)?.parse().ok()?;
                return Some((status, field("connection:").as_deref() != Some("close")));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
}
