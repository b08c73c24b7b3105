//! The servers, each with a site for every rule set that it can be told.

mod apache;
pub mod gateway;
mod haproxy;
pub mod nginx;

use std::any::Any;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_rules::translate::SiteRules;

use crate::PATIENCE;
use crate::books::Book;
use crate::client::Seen;

/// A running server.
pub struct Server {
    pub name: &'static str,
    /// How it refuses what a rule aborts.
    pub abort: Seen,
    /// Statuses that it gives of its own accord before any rule; the origin sees nothing of such a request.
    pub own: &'static [u16],
    /// It answers some `OPTIONS` itself, such as those without a path, and the application never sees them.
    pub answers_options: bool,
    /// It neither judges nor forwards fields with an underscore in their name, unless it is told to.
    pub drops_underscores: bool,
    /// By book.
    pub sites: Vec<Option<SocketAddr>>,
    /// Books that it cannot be told, and why.
    pub untold: Vec<(String, String)>,
    /// What keeps it running.
    _running: Vec<Box<dyn Any + Send + Sync>>,
}

impl Server {
    fn new(name: &'static str, abort: Seen, own: &'static [u16], books: usize) -> Server {
        Server {
            name,
            abort,
            own,
            answers_options: name == "apache",
            drops_underscores: name == "nginx",
            sites: vec![None; books],
            untold: Vec::new(),
            _running: Vec::new(),
        }
    }

    /// The books that it can be told.
    fn told(&mut self, books: &[Book], tell: impl Fn(SiteRules) -> Result<(), String>) -> Vec<usize> {
        let mut told = Vec::new();
        for (n, book) in books.iter().enumerate() {
            match tell(site(n, book)) {
                Ok(()) => told.push(n),
                Err(reason) => self.untold.push((book.name.clone(), reason)),
            }
        }
        told
    }

    /// A process serves these books at these addresses.
    fn run(
        &mut self,
        books: impl IntoIterator<Item = usize>,
        addresses: impl IntoIterator<Item = SocketAddr>,
        process: Process,
    ) {
        for (n, address) in books.into_iter().zip(addresses) {
            self.sites[n] = Some(address);
        }
        self._running.push(Box::new(process));
    }
}

/// A book's rules, for its own site.
fn site(n: usize, book: &Book) -> SiteRules {
    SiteRules {
        observe: false,
        marker: format!("example {}", book.name),
        sites: Some(vec![format!("site{n}.example")]),
        rules: book.rules.clone(),
    }
}

/// Every server that is installed. A missing one is named, and in CI a failure.
pub fn all(folder: &Path, books: &[Book], origin: SocketAddr, test: &str) -> Vec<Server> {
    let mut servers = vec![gateway::start(&folder.join("gateway"), books, origin)];
    if is_here("nginx", test) {
        servers.push(nginx::start(&folder.join("nginx"), books, origin));
    }
    if is_here("apache2", test) {
        servers.push(apache::start(&folder.join("apache"), books, origin));
    }
    if is_here("haproxy", test) {
        servers.push(haproxy::start(&folder.join("haproxy"), books, origin));
    }
    servers
}

/// Whether a program is in `/usr/sbin`, where Debian puts servers.
pub fn is_here(program: &str, test: &str) -> bool {
    let here = Path::new("/usr/sbin").join(program).exists();
    if !here {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {program}: {test}");
        println!("skipped (no {program}): {test}");
    }
    here
}

/// A child that is asked to end when this is dropped, and made to where it does not.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // A master that is killed outright leaves its workers behind.
        let _ = kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until every address takes connections; false: the process ended.
pub fn await_listening(child: &mut Child, addresses: &[SocketAddr]) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
        if addresses.iter().all(|address| TcpStream::connect(address).is_ok()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A loopback address with a port that nobody listens on, below those that the system gives to clients:
/// a run opens very many connections.
pub fn free_address() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(257);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
