//! The driver against the HAProxy that a distribution ships: an origin behind two frontends, one of which has the
//! hook.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_core::observed::Hook;
use stopgap_core::proof::{Answer, Judgement};
use stopgap_drivers::haproxy::{self, Haproxy};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::host::{Bounds, Host};
use stopgap_drivers::probe::{self, Patience};
use stopgap_drivers::server::Settings;
use stopgap_drivers::set::Sets;
use stopgap_drivers::{Checked, Driver, DriverError, Machine};

use common::server::is_here;
use common::{ATTACK, files, free_port, log1, m1, observing, ok, serve_origin, until};

const BINARY: &str = "/usr/sbin/haproxy";

/// Whether the running process can be told rules without a reload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Socket {
    Admin,
    None,
}

/// `None`, said aloud, where there is no HAProxy.
fn server(test: &str, socket: Socket) -> Option<Server> {
    is_here(BINARY, test).then(|| start(socket))
}

type Server = common::server::Server<Haproxy>;

/// A running HAProxy with a configuration of its own, the hook in its first frontend, and the origin behind it.
fn start(socket: Socket) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let origin = Arc::new(Mutex::new(Vec::new()));
    let address = serve_origin(origin.clone());
    let root = folder.path().to_owned();
    write_configuration(&root, address, socket);
    let settings = Settings { ..haproxy::settings("haproxy", root.join("data/haproxy"), root.clone()) };
    let driver = Haproxy::new(settings, None);
    hook_one(&driver);
    let master = launch(&root);
    let server = Server { folder, master, driver, origin };
    server.wait(Server::is_up);
    server
}

impl Server {
    fn is_up(&self) -> bool {
        fs::read(self.path("run/haproxy.pid")).is_ok_and(|pid| !pid.is_empty()) && !self.workers().is_empty()
    }

    /// What the running process answers on its socket.
    fn command(&self, command: &str) -> String {
        let bounds = Bounds { octets: 1 << 20, time: Duration::from_secs(20) };
        Machine.converse(&self.path("run/admin.sock"), command, bounds).unwrap()
    }

    fn workers(&self) -> String {
        let id = self.master.id();
        fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap()
    }
}

fn launch(root: &Path) -> Child {
    let log = || fs::File::options().append(true).create(true).open(root.join("stderr.log")).unwrap();
    Command::new(BINARY)
        .args(["-W", "-db", "-f"])
        .arg(root.join("etc/haproxy/haproxy.cfg"))
        .arg("-p")
        .arg(root.join("run/haproxy.pid"))
        .stdin(Stdio::null())
        .stdout(log())
        .stderr(log())
        .spawn()
        .unwrap()
}

/// The hook of both, without that of the second.
fn hook_one(driver: &Haproxy) {
    let mut edits = driver.hook_edits(&Machine).unwrap();
    assert_eq!(edits.len(), 1);
    let text = edits[0].after.clone().unwrap();
    let (one, two) = text.split_at(text.find("frontend two").unwrap());
    edits[0].after = Some(format!("{one}{}", stopgap_drivers::hook::remove(two)));
    driver.edit(&Machine, &edits).unwrap();
}

fn write_configuration(root: &Path, origin: SocketAddr, socket: Socket) {
    for name in ["etc/haproxy", "run", "data"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let made = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(root.join("etc/haproxy/site.pem"), pem).unwrap();
    let run = root.join("run");
    let stats = match socket {
        Socket::Admin => format!(
            "    stats socket {}/admin.sock mode 600 level admin expose-fd listeners\n",
            run.display()
        ),
        Socket::None => String::new(),
    };
    let text = format!(
        "global\n{stats}    # As Debian's.\n\ndefaults\n    mode http\n    timeout client 30s\n    timeout connect 30s\n    \
         timeout server 30s\n\nfrontend one\n    bind 127.0.0.1:{}\n    bind 127.0.0.1:{} ssl crt {}\n    \
         http-request set-header X-A b\n    default_backend app\n\nfrontend two\n    bind 127.0.0.1:{}\n    \
         default_backend app\n\nfrontend raw\n    mode tcp\n    bind 127.0.0.1:{}\n    default_backend raw\n\n\
         backend app\n    server app {origin}\n\nbackend raw\n    mode tcp\n    server app {origin}\n",
        free_port(),
        free_port(),
        root.join("etc/haproxy/site.pem").display(),
        free_port(),
        free_port()
    );
    fs::write(root.join("etc/haproxy/haproxy.cfg"), text).unwrap();
}

#[test]
fn m1_is_put_into_the_running_process_proven_and_taken_off_to_the_byte() {
    let test = "m1_is_put_into_the_running_process_proven_and_taken_off_to_the_byte";
    let Some(server) = server(test, Socket::Admin) else { return };
    let hooked = server.files();
    let workers = server.workers();
    let observed = server.observe();
    assert_eq!(observed.warnings, Vec::<String>::new());
    let names: Vec<&str> = observed.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(names, ["one", "two"], "a frontend in TCP mode is no site");
    assert_eq!(observed.sites[0].hook, Hook::Present);
    let Hook::Missing(why) = &observed.sites[1].hook else { panic!("two has no hook") };
    assert!(why.contains("frontend two lacks the hook"), "{why}");
    assert_eq!(observed.live.active, Some(true), "nothing, and that is what it should hold");

    // Before: every probe reaches the origin.
    let wanted = m1();
    let rendered = server.render(&wanted);
    assert_eq!(rendered.refused, []);
    let questions = probe::questions(&Machine, &wanted, &rendered.placements, &observed, 1);
    assert_eq!(
        questions.len(),
        2 * wanted[0].probes.len(),
        "each probe at both listeners of the one frontend"
    );
    assert!(questions.iter().all(|q| q.before == ok()), "{questions:?}");

    // The change: tested, swapped, put, proven.
    let change = rendered.change.unwrap();
    let checked = server.driver.check(&Machine, &change).unwrap();
    assert!(matches!(checked, Checked::Staged | Checked::SwappedAndRestored));
    assert_eq!(server.files(), hooked, "a test leaves nothing");
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    server.origin.lock().unwrap().clear();
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed], "at once");
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    let seen = server.origin.lock().unwrap().clone();
    assert!(seen.iter().all(|target| target == "/autodiscover/autodiscover.xml"), "{seen:?}");
    assert_eq!(server.ask("two", ATTACK), [ok()], "the frontend without the hook");
    let live = server.observe().live;
    assert_eq!((live.holds[0].sites.as_slice(), live.active), (["one".to_owned()].as_slice(), Some(true)));
    assert!(server.render(&wanted).change.is_none());
    assert_eq!(server.workers(), workers, "without a reload");

    // And off again.
    let off = server.bring(&[]);
    server.driver.settle(&Machine, &off).unwrap();
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
    assert_eq!(server.files(), hooked);
}

#[test]
fn the_hook_is_cut_out_to_the_byte() {
    let test = "the_hook_is_cut_out_to_the_byte";
    if !is_here(BINARY, test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_configuration(root, "127.0.0.1:9".parse().unwrap(), Socket::Admin);
    let untouched = files(root);
    let driver = Haproxy::new(haproxy::settings("haproxy", root.join("data/haproxy"), root.to_owned()), None);
    let edits = driver.hook_edits(&Machine).unwrap();
    driver.edit(&Machine, &edits).unwrap();
    let observed = driver.observe(&Machine).unwrap();
    assert!(observed.sites.iter().all(|site| site.hook == Hook::Present), "{observed:?}");
    assert_eq!(driver.hook_edits(&Machine).unwrap(), []);
    // What the hook needs to be there is told where it is not, and made.
    fs::remove_file(root.join("data/haproxy/live")).unwrap();
    let warnings = driver.observe(&Machine).unwrap().warnings;
    assert!(warnings.iter().any(|w| w.contains("HAProxy will not start")), "{warnings:?}");
    driver.edit(&Machine, &[]).unwrap();
    let warnings = driver.observe(&Machine).unwrap().warnings;
    assert!(!warnings.iter().any(|w| w.contains("HAProxy will not start")), "{warnings:?}");
    // An edit that HAProxy rejects is put back, and what it prepared, too.
    let mut off = driver.unhook_edits(&Machine).unwrap();
    let good = off[0].after.clone();
    off[0].after = Some("frontend x\n    no-such-keyword\n".into());
    assert!(matches!(driver.edit(&Machine, &off), Err(DriverError::Rejected { .. })));
    assert!(driver.observe(&Machine).unwrap().sites.iter().all(|site| site.hook == Hook::Present));
    off[0].after = good;
    driver.edit(&Machine, &off).unwrap();
    assert_eq!(files(root), untouched);
    assert_eq!(fs::read_dir(root.join("data")).unwrap().count(), 0);
}

#[test]
fn log1_is_proven_by_its_probes() {
    let Some(server) = server("log1_is_proven_by_its_probes", Socket::Admin) else { return };
    let rendered = server.render(&log1());
    assert_eq!(rendered.refused, []);
    let questions = probe::questions(&Machine, &log1(), &rendered.placements, &server.observe(), 1);
    server.bring(&log1());
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert_eq!(shown.len(), 2 * 3);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
}

#[test]
fn without_a_socket_a_reload_brings_the_rules_and_what_older_ones_still_answer_is_told() {
    let test = "without_a_socket_a_reload_brings_the_rules_and_what_older_ones_still_answer_is_told";
    let Some(server) = server(test, Socket::None) else { return };
    let observed = server.observe();
    assert_eq!(observed.live.active, None);
    assert!(observed.warnings[0].contains("no stats socket"), "{:?}", observed.warnings);
    let listener = observed.sites[0].listeners.iter().find(|l| !l.tls).unwrap().clone();
    let mut upload = TcpStream::connect(listener.address).unwrap();
    write!(upload, "POST /slow HTTP/1.1\r\nHost: one.example\r\nContent-Length: 2\r\n\r\n1").unwrap();
    // The origin has it: the rules of now have let it through.
    until(|| !server.origin.lock().unwrap().is_empty());
    let change = server.bring(&m1());
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed], "the first step is done");
    let told = || server.observe().warnings.iter().any(|w| w.contains("1 worker of before"));
    assert!(told(), "{:?}", server.observe().warnings);
    upload.write_all(b"2").unwrap();
    until(|| !told());
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
}

#[test]
fn a_change_is_reverted_by_its_own_record_also_where_somebody_broke_the_configuration() {
    let test = "a_change_is_reverted_by_its_own_record_also_where_somebody_broke_the_configuration";
    let Some(server) = server(test, Socket::Admin) else { return };
    let hooked = server.files();
    let change = server.bring(&m1());
    let config = server.path("etc/haproxy/haproxy.cfg");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}\n    no-such-keyword\n")).unwrap();
    let before = server.files();
    let error = server.driver.check(&Machine, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::BrokenBefore { message, .. } if message.contains("no-such-keyword")),
        "{error}"
    );
    assert_eq!(server.files(), before);
    // The running process needs no configuration for it.
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
    fs::write(&config, good).unwrap();
    assert_eq!(server.files(), hooked);
}

#[test]
fn a_crash_while_rules_are_put_is_answered_by_a_revert() {
    let test = "a_crash_while_rules_are_put_is_answered_by_a_revert";
    let Some(server) = server(test, Socket::Admin) else { return };
    let hooked = server.files();
    let change = server.render(&m1()).change.unwrap();
    let sets = Sets {
        folder: server.path("data/haproxy"),
        files: &["rules.map", "rules.map.gate"],
        keep_folder: true,
        at_all_times: true,
    };
    sets.swap(&Machine, &change).unwrap();
    let map = server.path("data/haproxy/live/rules.map");
    let answer = server.command(&format!("prepare map {}", map.display()));
    let version = answer.trim().strip_prefix("New version created: ").unwrap();
    assert_eq!(server.command(&format!("add map @{version} {} ^ abort", map.display())).trim(), "");
    // Here it ends, and another process begins with what the journal holds.
    assert_eq!(server.ask("one", "/"), [ok(), ok()], "not by half");
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.files(), hooked);
    assert_eq!(server.observe().live.active, Some(true));
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
    server.bring(&m1());
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(server.ask("one", "/"), [ok(), ok()]);
}

#[test]
fn what_somebody_changed_in_the_files_or_in_the_process_is_noticed_and_repaired() {
    let test = "what_somebody_changed_in_the_files_or_in_the_process_is_noticed_and_repaired";
    let Some(server) = server(test, Socket::Admin) else { return };
    let change = server.bring(&m1());
    server.driver.settle(&Machine, &change).unwrap();
    fs::write(server.path("data/haproxy/live/rules.map"), "# by hand\n").unwrap();
    let live = server.observe().live;
    assert_eq!((live.foreign.len(), live.holds.len()), (1, 0), "{live:?}");
    let repair = server.bring(&m1());
    server.driver.settle(&Machine, &repair).unwrap();
    assert_eq!(server.observe().live.foreign, Vec::<String>::new());
    // In the process alone.
    let map = server.path("data/haproxy/live/rules.map");
    assert_eq!(server.command(&format!("clear map {}", map.display())).trim(), "");
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
    assert_eq!(server.observe().live.active, Some(false));
    let repair = server.bring(&m1());
    server.driver.settle(&Machine, &repair).unwrap();
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(server.observe().live.active, Some(true));
    // And what is there without any rule of ours.
    let off = server.bring(&[]);
    server.driver.settle(&Machine, &off).unwrap();
    assert_eq!(server.command(&format!("add map {} ^ abort", map.display())).trim(), "");
    assert_eq!(server.command(&format!("add map {}.gate ^ open", map.display())).trim(), "");
    assert_eq!(server.ask("one", "/"), [Answer::Closed, Answer::Closed]);
    let off = server.bring(&[]);
    server.driver.settle(&Machine, &off).unwrap();
    assert_eq!(server.ask("one", "/"), [ok(), ok()]);
}

#[test]
fn a_restart_finds_the_rules_in_the_files() {
    let Some(mut server) = server("a_restart_finds_the_rules_in_the_files", Socket::Admin) else { return };
    server.bring(&m1());
    kill(Pid::from_raw(server.master.id() as i32), Signal::SIGTERM).unwrap();
    server.master.wait().unwrap();
    let stopped = server.observe();
    assert_eq!(stopped.live.active, None);
    assert!(stopped.warnings[0].contains("does not run"), "{:?}", stopped.warnings);
    // A change of a HAProxy that does not run is none that fails.
    let both = [m1(), log1()].concat();
    server.bring(&both);
    fs::remove_file(server.path("run/haproxy.pid")).unwrap();
    server.master = launch(server.folder.path());
    server.wait(Server::is_up);
    until(|| server.observe().live.active == Some(true));
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
}

#[test]
fn a_process_that_has_not_read_the_hook_is_reloaded() {
    let Some(server) = server("a_process_that_has_not_read_the_hook_is_reloaded", Socket::Admin) else {
        return;
    };
    // It starts without the hook, which comes later.
    let off = server.driver.unhook_edits(&Machine).unwrap();
    server.driver.edit(&Machine, &off).unwrap();
    let workers = server.workers();
    kill(Pid::from_raw(server.master.id() as i32), Signal::SIGUSR2).unwrap();
    until(|| {
        let now = server.workers();
        now.split_whitespace().count() == 1 && now != workers
    });
    hook_one(&server.driver);
    until(|| server.observe().live.active.is_none());
    assert!(server.render(&[]).change.is_none(), "nothing to do for nothing");
    server.bring(&m1());
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(server.observe().live.active, Some(true));
}

#[test]
fn what_backslashes_quotes_and_blanks_say_survives_the_way_into_the_process() {
    let test = "what_backslashes_quotes_and_blanks_say_survives_the_way_into_the_process";
    let Some(server) = server(test, Socket::Admin) else { return };
    let rewrite = r#"<rewrite><rules><rule name="a \ 'b' &quot;c&quot; # d" stopProcessing="true"><match url=".*"/>
        <conditions><add input="{HTTP_USER_AGENT}" pattern="a\\b&quot;c' \#;;d"/></conditions>
        <action type="CustomResponse" statusCode="429"/></rule></rules></rewrite>"#;
    let mut wanted = m1();
    wanted[0].action.kind = stopgap_feed::document::ActionKind::UrlRewrite { rewrite: rewrite.into() };
    assert_eq!(server.render(&wanted).refused, []);
    server.bring(&wanted);
    // What was put is what the files say: read back, entry by entry.
    assert_eq!(server.observe().live.active, Some(true));
    let asked = |agent: &str| {
        let probe = stopgap_feed::document::Probe {
            head: format!("GET / HTTP/1.1\r\nUser-Agent: {agent}\r\n\r\n"),
            expect: stopgap_feed::document::Expect::Allowed,
        };
        let listener = server.observe().sites[0].listeners[0].clone();
        probe::ask(&Machine, &listener, &probe, &"test:M1".parse().unwrap(), 1)
    };
    assert!(matches!(asked("a\\b\"c' #;;d"), Answer::Response { status: 429, .. }));
    assert_eq!(asked("a\\\\b\"c' #;;d"), ok());
}

#[test]
fn what_is_observed_goes_to_the_origin_and_is_an_event_until_it_is_to_refuse() {
    let test = "what_is_observed_goes_to_the_origin_and_is_an_event_until_it_is_to_refuse";
    let Some(server) = server(test, Socket::Admin) else { return };
    let workers = server.workers();
    server.bring(&observing(m1()));
    server.origin.lock().unwrap().clear();
    assert_eq!(server.ask("one", ATTACK), [ok(), ok()]);
    assert_eq!(server.ask("one", "/owa/"), [ok(), ok()]);
    assert_eq!(*server.origin.lock().unwrap(), [ATTACK, ATTACK, "/owa/", "/owa/"]);
    let named = format!("Stopgap observes example:M1.1: 127.0.0.1 one GET {ATTACK}");
    let events = server.command("show events buf0");
    assert_eq!(events.matches(&named).count(), 2, "{events}");
    let log = fs::read_to_string(server.path("stderr.log")).unwrap();
    assert_eq!(log.matches(&named).count(), 2, "{log}");
    assert_eq!(server.observe().live.active, Some(true));

    server.bring(&m1());
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(server.workers(), workers, "without a reload");
}

#[test]
fn the_hook_of_an_earlier_version_refuses_and_observes_nothing_until_it_is_renewed() {
    let test = "the_hook_of_an_earlier_version_refuses_and_observes_nothing_until_it_is_renewed";
    let Some(server) = server(test, Socket::Admin) else { return };
    let config = server.path("etc/haproxy/haproxy.cfg");
    let today = fs::read_to_string(&config).unwrap();
    let earlier: String =
        today.lines().filter(|l| !l.contains("stopgap_seen")).map(|l| format!("{l}\n")).collect();
    assert_eq!(today.lines().count(), earlier.lines().count() + 2);
    fs::write(&config, &earlier).unwrap();
    assert_eq!(server.observe().sites[0].hook, Hook::Present, "what refused yesterday refuses today");
    let refused = server.render(&observing(m1())).refused;
    assert!(refused[0].1.contains("`stopgap agent hook haproxy --insert` renews"), "{refused:?}");
    server.bring(&m1());
    assert_eq!(server.ask("one", ATTACK), [Answer::Closed, Answer::Closed]);
    hook_one(&server.driver);
    assert_eq!(fs::read_to_string(&config).unwrap(), today);
    assert_eq!(server.render(&observing(m1())).refused, []);
}
