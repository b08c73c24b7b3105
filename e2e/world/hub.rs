//! A hub, and whoever talks to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Process, STOPGAP, Seen, World, ask, free_port, run, text, wait_until};

/// A hub that runs, with its data in this world.
pub struct Hub {
    pub data: PathBuf,
    pub address: SocketAddr,
    /// Certificates and key; `None`: without TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A PostgreSQL; `None`: a file in its data.
    database: Option<String>,
    process: Option<Process>,
    /// An administrator's.
    pub token: String,
}

/// An answer: its status, its ETag, its JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub etag: String,
    pub json: Value,
}

impl Hub {
    /// Starts one on a free port of loopback, without TLS, and makes an administrator's token.
    pub fn start(world: &World) -> Hub {
        Hub::start_on(world, "hub", None)
    }

    /// The same with this folder of the world, and this database.
    pub fn start_on(world: &World, folder: &str, database: Option<String>) -> Hub {
        let data = world.path(folder);
        std::fs::create_dir_all(&data).unwrap();
        let mut command = Command::new(STOPGAP);
        command.args(["hub", "token", "create", "--data", text(&data), "--role", "administrator"]);
        command.envs(database.iter().map(|url| ("STOPGAP_HUB_DATABASE", url)));
        let made = run(command);
        assert_eq!(made.code, 0, "{made:#?}");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let token = made.stdout.trim().to_owned();
        let mut hub = Hub { data, address, tls: None, database, process: None, token };
        hub.run();
        hub
    }

    /// Another on the same database.
    pub fn replica(&self, world: &World, folder: &str) -> Hub {
        let data = world.path(folder);
        std::fs::create_dir_all(&data).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (database, token) = (self.database.clone(), self.token.clone());
        let mut hub = Hub { data, address, tls: None, database, process: None, token };
        hub.run();
        hub
    }

    /// Its address, as agents are told.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Starts it where it does not run.
    pub fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.data.join("stderr")).unwrap();
        let mut command = Command::new(STOPGAP);
        command.args(["hub", "run", "--data", text(&self.data), "--listen", &self.address.to_string()]);
        command.envs(self.database.iter().map(|url| ("STOPGAP_HUB_DATABASE", url)));
        if let Some((chain, key)) = &self.tls {
            command.args(["--tls-cert", text(chain), "--tls-key", text(key)]);
        }
        self.process = Some(Process::start(command.stderr(log)));
        let address = self.address;
        let plain = self.tls.is_none();
        wait_until("the hub listens", || match plain {
            true => ask(address, "/readyz") == Seen::Status(200),
            false => TcpStream::connect(address).is_ok(),
        });
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// An administrator's request.
    pub fn api(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
        http(self.address, method, path, &format!("Authorization: Bearer {}\r\n{headers}", self.token), body)
    }

    /// Changes what the organization says, in parts, as an operator does who has just read it.
    pub fn say(&self, part: &Value) {
        let path = "/v1/organization/settings";
        let etag = self.api("GET", path, "", None).etag;
        let said = self.api("PATCH", path, &format!("If-Match: {etag}\r\n"), Some(part));
        assert_eq!(said.status, 200, "{said:#?}");
    }

    /// An enrollment token for one server, as a file.
    pub fn enrollment(&self, world: &World) -> PathBuf {
        let made = self.api("POST", "/v1/enrollments", "", Some(&json!({ "uses": 1, "hours": 1 })));
        assert_eq!(made.status, 201, "{made:#?}");
        world.write("enrollment-token", made.json["secret"].as_str().unwrap());
        world.path("enrollment-token")
    }

    /// Has the server of this world join.
    pub fn enroll(&self, world: &World) {
        self.enroll_at(world, &self.url());
    }

    /// The same, at another address where this hub is found.
    pub fn enroll_at(&self, world: &World, url: &str) {
        let token = self.enrollment(world);
        world.ok(&["agent", "enroll", "--hub", url, "--token-file", text(&token)]);
    }

    /// What the hub knows of one mitigation on a server.
    pub fn knows(&self, server: &str, id: &str) -> Value {
        let answer = self.api("GET", &format!("/v1/servers/{server}/mitigations"), "", None);
        let items = answer.json["items"].as_array().or(answer.json.as_array()).cloned().unwrap_or_default();
        items.into_iter().find(|one| one["id"] == id).unwrap_or_default()
    }
}

/// One request on a connection of its own.
pub fn http(address: SocketAddr, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
    try_http(address, method, path, headers, body).unwrap()
}

/// The same; `None`: nobody answered to the end.
pub fn try_http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> Option<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}{kind}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let etag = head.lines().find_map(|line| line.to_lowercase().strip_prefix("etag: ").map(str::to_owned));
    Some(Answer {
        status: head.get(9..12)?.parse().ok()?,
        etag: etag.unwrap_or_default(),
        json: serde_json::from_str(body).unwrap_or_default(),
    })
}

/// A certificate authority, and certificates of its for 127.0.0.1.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "the hub's authority");
        let certificate = parameters.self_signed(&key).unwrap();
        Authority { certificate, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// SHA-256 of its certificate, as a token pins it.
    pub fn pin(&self) -> String {
        stopgap_core::plan::sha256_hex(self.certificate.der())
    }

    /// Writes a new certificate with its chain, and its key.
    pub fn issue(&self, chain: &Path, key: &Path) {
        let own = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = parameters.signed_by(&own, &self.issuer).unwrap();
        std::fs::write(chain, format!("{}{}", leaf.pem(), self.certificate.pem())).unwrap();
        std::fs::write(key, own.serialize_pem()).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The type of an answer, and its octets.
type Told = Option<(&'static str, Vec<u8>)>;

/// A hub that is none: it answers each path with what a function says.
pub struct Liar {
    pub address: SocketAddr,
}

impl Liar {
    /// Answers until the test ends. `answer`: method and path to a status and octets; `None`: 404.
    pub fn start(answer: impl Fn(&str, &str) -> Told + Send + Sync + 'static) -> Liar {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = std::sync::Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = std::sync::Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        Liar { address }
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str, &str) -> Told) {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut octet) {
            Ok(1) => head.push(octet[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (kind, body) = match answer(method, path) {
        Some(said) => said,
        None => {
            let _ =
                write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all(&body);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // What is still to be read is read: a connection that is reset would take the answer with it.
    let _ = stream.read_to_end(&mut Vec::new());
}
