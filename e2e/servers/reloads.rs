//! Many changes of rules, one after the other: each in force in two steps, and no memory or descriptor lost.
//!
//! 1. *New connections*: a connection that is opened now meets the new rules.
//! 2. *All connections*: nothing that the old rules let in is in progress any more. A connection that was kept
//!    alive over the change meets the new rules, or is closed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_rules::RuleSet;
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::nginx::translate;

use crate::PATIENCE;
use crate::client::{Client, Seen};
use crate::equivalence::setting;
use crate::server::{Process, await_listening, free_address, gateway, is_here, nginx};

/// Changes with every run of the tests.
const CHANGES: u64 = 200;

/// What a process may hold more at the end than after the first tenth, in KiB: of 200 changes the noise of an
/// allocator, of 10,000 less than half a kilobyte for each.
const GROWTH: u64 = 4_096;

/// The rules after a number of changes: they refuse `/even` or `/odd`, and no two are alike.
fn rules(number: u64) -> String {
    let word = if number.is_multiple_of(2) { "even" } else { "odd" };
    format!(
        "<rewrite><rules><rule name=\"change {number}\" stopProcessing=\"true\"><match url=\".*\"/><conditions>\
         <add input=\"{{UrlDecode:{{REQUEST_URI}}}}\" pattern=\"^/{word}\"/></conditions>\
         <action type=\"AbortRequest\"/></rule></rules></rewrite>"
    )
}

/// What the rules after a number of changes do to `/even` and `/odd`.
fn by(number: u64) -> [Seen; 2] {
    if number.is_multiple_of(2) {
        [Seen::Closed, Seen::Status(200)]
    } else {
        [Seen::Status(200), Seen::Closed]
    }
}

const PATHS: [&str; 2] = ["/even", "/odd"];

fn head(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: www.example.org\r\n\r\n").into_bytes()
}

fn ask(client: &mut Client, path: &str) -> Seen {
    client.send(&head(path));
    client.answer(false)
}

/// What new connections see.
fn on_new(address: SocketAddr) -> [Seen; 2] {
    PATHS.map(|path| ask(&mut Client::new(address), path))
}

/// A connection that has served a request and waits for the next.
fn kept(address: SocketAddr) -> Client {
    let mut client = Client::new(address);
    assert_eq!(ask(&mut client, "/"), Seen::Status(200));
    assert!(client.is_open());
    client
}

/// After the second step: the next request on a kept connection meets the new rules. Of two connections each
/// is asked for one path.
fn kept_meet(number: u64, kept: [Client; 2]) {
    for ((mut client, path), expected) in kept.into_iter().zip(PATHS).zip(by(number)) {
        let seen = ask(&mut client, path);
        // A server may close an idle connection at a change; then the client opens a new one.
        let seen = if seen == Seen::Closed { ask(&mut client, path) } else { seen };
        assert_eq!(seen, expected, "change {number}: {path} on a kept connection");
    }
}

/// Resident memory in KiB and open descriptors, of a process and its children.
fn held(pid: u32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    children(pid)
        .into_iter()
        .map(held)
        .fold((resident, descriptors), |sum, child| (sum.0 + child.0, sum.1 + child.1))
}

/// The least of several looks: what was just used is given back a moment later.
fn at_rest(pid: u32) -> (u64, usize) {
    let looks = (0..10).map(|_| {
        thread::sleep(Duration::from_millis(20));
        held(pid)
    });
    looks.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).unwrap()
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Changes the rules again and again; `change` returns after the first step, `settle` after the second.
fn many(name: &str, address: SocketAddr, pid: u32, mut change: impl FnMut(u64), mut settle: impl FnMut(u64)) {
    let changes = setting("STOPGAP_EQUIVALENCE_RELOADS", CHANGES);
    let warm = changes / 10;
    let mut before = (0, 0);
    for number in 1..=changes {
        let connections = [kept(address), kept(address)];
        change(number);
        assert_eq!(on_new(address), by(number), "change {number}: new connections");
        settle(number);
        kept_meet(number, connections);
        if number == warm {
            before = at_rest(pid);
        }
    }
    let after = at_rest(pid);
    let line = format!(
        "{name}: {changes} changes; resident {} KiB after {warm} of them, {} KiB at the end; descriptors {}, {}",
        before.0, after.0, before.1, after.1
    );
    println!("{line}");
    if let Ok(path) = std::env::var("STOPGAP_EQUIVALENCE_REPORT") {
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "- {line}").unwrap();
    }
    assert!(after.0 <= before.0 + GROWTH, "memory grows: {line}");
    assert!(after.1 <= before.1 + 4, "descriptors grow: {line}");
}

/// An application that answers at once, but for `/slow`: of that the end comes when it is let go.
struct Application {
    address: SocketAddr,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Application {
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = gate.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = shared.clone();
                thread::spawn(move || answer(stream, &gate));
            }
        });
        Application { address, gate }
    }

    fn let_go(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

/// The first octet of the body goes out by itself; nginx would wait for more unless told not to.
const HEAD_AND_HALF: &[u8] = b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\no";

fn answer(stream: TcpStream, gate: &(Mutex<bool>, Condvar)) -> Option<()> {
    let mut write = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let first = lines.next()?;
        lines.by_ref().find(|line| line.is_empty())?;
        write.write_all(HEAD_AND_HALF).ok()?;
        if first.contains("/slow") {
            let mut open = gate.0.lock().unwrap();
            while !*open {
                open = gate.1.wait(open).unwrap();
            }
        }
        write.write_all(b"k").ok()?;
    }
}

/// A gateway with the rules of `rules(0)`, and the folder that it lives in.
struct Gateway {
    folder: tempfile::TempDir,
    address: SocketAddr,
    process: Process,
}

impl Gateway {
    fn start(origin: SocketAddr) -> Gateway {
        let folder = tempfile::Builder::new().prefix("stopgap-servers-").tempdir().unwrap();
        fs::write(folder.path().join("rules.xml"), rules(0)).unwrap();
        let (address, process) = gateway::run(folder.path(), origin).unwrap();
        Gateway { folder, address, process }
    }

    fn write(&self, number: u64) {
        let next = self.folder.path().join("next.xml");
        fs::write(&next, rules(number)).unwrap();
        fs::rename(next, self.folder.path().join("rules.xml")).unwrap();
    }

    /// A command on the control socket, and its answer.
    fn control(&self, command: &str) -> serde_json::Value {
        let mut stream = UnixStream::connect(self.folder.path().join("control.sock")).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn change(&self, number: u64) -> serde_json::Value {
        self.write(number);
        let answer = self.control(r#"{"command":"activate"}"#);
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    /// Waits until it says that nothing of earlier rules is in progress.
    fn settled(&self) {
        let start = Instant::now();
        while self.control(r#"{"command":"status"}"#)["settled"] != true {
            assert!(start.elapsed() < PATIENCE, "it does not settle");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn the_gateway_takes_many_changes_each_in_two_steps_and_keeps_its_size() {
    let application = Application::start();
    let gateway = Gateway::start(application.address);
    assert_eq!(on_new(gateway.address), by(0));
    let change = |number| drop(gateway.change(number));
    many("gateway", gateway.address, gateway.process.0.id(), change, |_| gateway.settled());
}

#[test]
fn the_gateway_is_settled_when_the_last_answer_by_old_rules_has_ended() {
    let application = Application::start();
    let gateway = Gateway::start(application.address);
    let mut slow = Client::new(gateway.address);
    slow.send(&head("/slow"));
    slow.peek();
    let kept = [kept(gateway.address), kept(gateway.address)];
    let answer = gateway.change(1);
    assert_eq!((&answer["settled"], &answer["older_connections"]), (&false.into(), &1.into()), "{answer}");
    // The first step is for every next request, also on connections that were there before.
    assert_eq!(on_new(gateway.address), by(1));
    kept_meet(1, kept);
    application.let_go();
    assert_eq!(slow.answer(false), Seen::Status(200));
    gateway.settled();
    // The connection of the old answer goes on by the new rules.
    assert_eq!(ask(&mut slow, "/even"), Seen::Status(200));
    assert_eq!(ask(&mut slow, "/odd"), Seen::Closed);
}

/// nginx with one site and the rules of `rules(0)`.
struct Nginx {
    folder: tempfile::TempDir,
    address: SocketAddr,
    origin: SocketAddr,
    master: Process,
    /// Workers before the last change.
    old: Vec<u32>,
}

impl Nginx {
    fn start(origin: SocketAddr) -> Nginx {
        let folder = tempfile::Builder::new().prefix("stopgap-servers-").tempdir().unwrap();
        for _ in 0..10 {
            let address = free_address();
            write_nginx(folder.path(), address, origin, 0);
            let stderr = fs::File::create(folder.path().join("stderr")).unwrap();
            let mut child =
                nginx::command(folder.path()).stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
            if await_listening(&mut child, &[address]) {
                return Nginx { folder, address, origin, master: Process(child), old: Vec::new() };
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(folder.path().join("stderr")).unwrap());
    }

    /// Writes the rules and reloads; returns when workers with them serve and no other worker takes
    /// connections: the first step, as the driver waits for it.
    fn change(&mut self, number: u64) {
        write_nginx(self.folder.path(), self.address, self.origin, number);
        let master = self.master.0.id();
        self.old = children(master);
        kill(Pid::from_raw(i32::try_from(master).unwrap()), Signal::SIGHUP).unwrap();
        self.until("new workers serve", |nginx| {
            let serving: Vec<u32> = children(master).into_iter().filter(|pid| serves(*pid)).collect();
            !serving.is_empty() && serving.iter().all(|pid| !nginx.old.contains(pid))
        });
    }

    /// The second step: no old worker is left.
    fn settled(&self) {
        self.until("old workers are gone", |nginx| !nginx.is_settling());
    }

    fn is_settling(&self) -> bool {
        children(self.master.0.id()).iter().any(|pid| self.old.contains(pid))
    }

    fn until(&self, what: &str, is_so: impl Fn(&Nginx) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write_nginx(folder: &Path, address: SocketAddr, origin: SocketAddr, number: u64) {
    let rules = RuleSet::parse(&rules(number)).unwrap();
    let site = SiteRules { observe: false, marker: "example M1.1".into(), sites: None, rules };
    let sites = [("www.example.org".to_owned(), address)];
    nginx::write(folder, &sites, &translate(&[site]).unwrap(), origin);
}

/// A worker that is told to end says so in its title, and takes no connections any more.
fn serves(pid: u32) -> bool {
    let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.starts_with("nginx: worker process") && !title.contains("shutting down")
}

#[test]
fn nginx_takes_many_changes_each_in_two_steps_and_keeps_its_size() {
    if !is_here("nginx", "nginx_takes_many_changes_each_in_two_steps_and_keeps_its_size") {
        return;
    }
    let application = Application::start();
    let nginx = std::cell::RefCell::new(Nginx::start(application.address));
    let (address, pid) = (nginx.borrow().address, nginx.borrow().master.0.id());
    assert_eq!(on_new(address), by(0));
    many("nginx", address, pid, |n| nginx.borrow_mut().change(n), |_| nginx.borrow().settled());
}

/// What an old worker of nginx still does between the two steps, and that it does nothing else.
#[test]
fn nginx_answers_by_old_rules_what_it_had_begun_to_read_and_nothing_after_it() {
    if !is_here("nginx", "nginx_answers_by_old_rules_what_it_had_begun_to_read_and_nothing_after_it") {
        return;
    }
    let application = Application::start();
    let mut nginx = Nginx::start(application.address);
    let mut idle = kept(nginx.address);
    let mut slow = Client::new(nginx.address);
    slow.send(&head("/slow"));
    slow.peek();
    let mut half = Client::new(nginx.address);
    half.send(b"GET /odd HTTP/1.1\r\nHost: www.exam");
    // A worker reads what came before it is told to end: the order of its events is that of the octets.
    assert_eq!(on_new(nginx.address), by(0));
    nginx.change(1);
    assert_eq!(on_new(nginx.address), by(1));
    assert!(nginx.is_settling());
    // The rules that were in force when the head began refuse `/even` alone.
    half.send(b"ple.org\r\n\r\n");
    assert_eq!(half.answer(false), Seen::Status(200), "a half head is judged by the old rules");
    assert!(!half.is_open(), "and its connection is closed");
    assert_eq!(ask(&mut idle, "/even"), Seen::Closed, "an idle connection was closed");
    assert!(nginx.is_settling(), "one answer is still in flight");
    // A second request behind the one in flight is not answered by the old worker.
    slow.send(&head("/odd"));
    application.let_go();
    assert_eq!(slow.answer(false), Seen::Status(200));
    assert!(!slow.is_open() || slow.answer(false) == Seen::Closed, "nothing follows what was in flight");
    nginx.settled();
    assert_eq!(on_new(nginx.address), by(1));
}

impl Client {
    /// Waits until an octet of an answer is there.
    fn peek(&mut self) {
        let stream = self.stream().expect("a connection");
        let mut octet = [0; 1];
        assert_eq!(stream.peek(&mut octet).unwrap(), 1);
    }
}
