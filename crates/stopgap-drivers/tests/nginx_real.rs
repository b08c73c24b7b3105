//! The driver against the nginx that a distribution ships: an origin behind two sites, one of which
//! has the hook.
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
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Hook;
use stopgap_core::plan::GeneratedSet;
use stopgap_core::proof::{Answer, Judgement};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::nginx::{self, Nginx};
use stopgap_drivers::probe::{self, Patience};
use stopgap_drivers::server::Settings;
use stopgap_drivers::{Checked, Driver, DriverError, Machine};

use common::server::is_here;
use common::{ATTACK, free_port, m1, observing, ok, serve_origin, until};

const BINARY: &str = "/usr/sbin/nginx";

/// `None`, said aloud, where there is no nginx.
fn server(test: &str) -> Option<Server> {
    is_here(BINARY, test).then(start)
}

type Server = common::server::Server<Nginx>;

/// A running nginx with a configuration of its own, and the origin behind it.
fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let origin = Arc::new(Mutex::new(Vec::new()));
    let address = serve_origin(origin.clone());
    write_configuration(folder.path(), address);
    let config = folder.path().join("nginx.conf");
    let log = fs::File::create(folder.path().join("stderr.log")).unwrap();
    let master = Command::new(BINARY)
        .args(["-g", "daemon off;", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let settings =
        Settings { config, ..nginx::settings("nginx", folder.path().join("data/nginx"), "/".into()) };
    let server = Server { folder, master, driver: Nginx::new(settings), origin };
    server.wait(|server| fs::read(server.path("nginx.pid")).is_ok_and(|pid| !pid.is_empty()));
    server
}

fn write_configuration(folder: &Path, origin: SocketAddr) {
    let made = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    for name in ["conf.d", "available", "enabled", "data", "tmp"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/tmp/{kind};\n", folder.display()))
        .concat();
    let main = format!(
        "pid {0}/nginx.pid;\nerror_log {0}/error.log;\nworker_processes 2;\nevents {{ }}\nhttp {{\n{temporary}  \
         access_log {0}/access.log;\n  include conf.d/*.conf;\n  include {0}/enabled/*;\n}}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
    let site = |listens: &str, name: &str| {
        format!(
            "server {{\n{listens}    server_name {name};\n    location / {{ proxy_pass http://{origin}; }}\n}}\n"
        )
    };
    let one = format!(
        "    listen 127.0.0.1:{};\n    listen 127.0.0.1:{} ssl;\n    ssl_certificate cert.pem;\n    ssl_certificate_key key.pem;\n",
        free_port(),
        free_port()
    );
    let two = format!("    listen 127.0.0.1:{};\n", free_port());
    for (file, text) in
        [("one.conf", site(&one, "one.example www.one.example")), ("two.conf", site(&two, "two.example"))]
    {
        fs::write(folder.join("available").join(file), text).unwrap();
        std::os::unix::fs::symlink(Path::new("../available").join(file), folder.join("enabled").join(file))
            .unwrap();
    }
}

#[test]
fn m1_is_put_on_proven_and_taken_off_to_the_byte() {
    let Some(server) = server("m1_is_put_on_proven_and_taken_off_to_the_byte") else { return };
    let untouched = server.files();
    server.hook_one();
    let hooked = server.files();
    let observed = server.observe();
    assert_eq!(observed.warnings, Vec::<String>::new());
    assert_eq!(observed.sites[0].hook, Hook::Present);
    let Hook::Missing(why) = &observed.sites[1].hook else { panic!("two has no hook") };
    assert!(why.contains("enabled/two.conf:1:"), "{why}");

    // Before: every probe reaches the origin.
    let wanted = m1();
    let rendered = server.render(&wanted);
    assert_eq!(rendered.refused, []);
    let questions = probe::questions(&Machine, &wanted, &rendered.placements, &observed, 1);
    assert_eq!(questions.len(), 2 * wanted[0].probes.len(), "each probe at both listeners of the one site");
    assert!(questions.iter().all(|q| q.before == ok()), "{questions:?}");

    // The change: tested, swapped, reloaded, proven.
    let change = rendered.change.unwrap();
    let checked = server.driver.check(&Machine, &change).unwrap();
    assert!(matches!(checked, Checked::Staged | Checked::SwappedAndRestored));
    assert_eq!(server.files(), hooked, "a test leaves nothing");
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    server.origin.lock().unwrap().clear();
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    let seen = server.origin.lock().unwrap().clone();
    assert!(seen.iter().all(|target| target == "/autodiscover/autodiscover.xml"), "{seen:?}");
    assert_eq!(server.ask("one.example", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(server.ask("two.example", ATTACK), [ok()], "the site without the hook");
    let live = server.observe().live;
    assert_eq!(live.holds[0].sites, ["one.example"]);
    assert!(server.render(&wanted).change.is_none());

    // And off again.
    let off = server.bring(&[]);
    server.driver.settle(&Machine, &off).unwrap();
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
    assert_eq!(server.files(), hooked);
    let edits = server.driver.unhook_edits(&Machine).unwrap();
    server.driver.edit(&Machine, &edits).unwrap();
    assert_eq!(server.files(), untouched);
}

#[test]
fn what_older_rules_still_answer_is_told_until_it_ends() {
    let Some(server) = server("what_older_rules_still_answer_is_told_until_it_ends") else { return };
    server.hook_one();
    let listener = server.observe().sites[0].listeners.iter().find(|l| !l.tls).unwrap().clone();
    let mut upload = TcpStream::connect(listener.address).unwrap();
    write!(upload, "POST /slow HTTP/1.1\r\nHost: one.example\r\nContent-Length: 2\r\n\r\n1").unwrap();
    // A worker takes what came first first.
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
    server.bring(&m1());
    assert_eq!(server.ask("one.example", ATTACK), [Answer::Closed, Answer::Closed], "the first step is done");
    let warnings = || server.observe().warnings;
    assert!(warnings().iter().any(|w| w.contains("1 worker of before")), "{:?}", warnings());
    upload.write_all(b"2").unwrap();
    until(|| warnings().is_empty());
}

#[test]
fn a_change_is_reverted_by_its_own_record() {
    let Some(server) = server("a_change_is_reverted_by_its_own_record") else { return };
    server.hook_one();
    let hooked = server.files();
    let change = server.bring(&m1());
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.files(), hooked);
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
}

#[test]
fn a_configuration_that_somebody_broke_is_reported_and_nothing_is_changed() {
    let Some(server) = server("a_configuration_that_somebody_broke_is_reported_and_nothing_is_changed")
    else {
        return;
    };
    server.hook_one();
    let hooked = server.files();
    let change = server.bring(&m1());
    let broken = server.path("conf.d/theirs.conf");
    fs::write(&broken, "no_such_directive on;\n").unwrap();
    let before = server.files();
    for error in
        [server.driver.observe(&Machine).unwrap_err(), server.driver.check(&Machine, &change).unwrap_err()]
    {
        assert!(
            matches!(&error, DriverError::BrokenBefore { message, .. } if message.contains("theirs.conf:1")),
            "{error}"
        );
    }
    assert_eq!(server.files(), before);
    // A revert puts the files back all the same, and says that nginx still serves by the old ones.
    let error = server.driver.revert(&Machine, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::NotTaken { message, .. } if message.contains("the files are as before"))
    );
    fs::remove_file(&broken).unwrap();
    assert_eq!(server.files(), hooked);
    assert_eq!(server.ask("one.example", ATTACK), [Answer::Closed, Answer::Closed]);
    // And again, once the configuration is whole.
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
}

#[test]
fn an_edit_of_our_file_is_noticed_and_repaired_even_where_it_broke_nginx() {
    let Some(server) = server("an_edit_of_our_file_is_noticed_and_repaired_even_where_it_broke_nginx") else {
        return;
    };
    server.hook_one();
    let change = server.render(&m1()).change.unwrap();
    // Only a private mount namespace shows the configuration without our files.
    let namespace = server.driver.check(&Machine, &change).unwrap() == Checked::Staged;
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    let texts = ["# by hand\n", "no_such_directive on;\n"];
    let texts = if namespace { &texts[..] } else { &texts[..1] };
    for text in texts {
        fs::write(server.path("data/nginx/live/server.conf"), text).unwrap();
        let live = server.observe().live;
        assert_eq!((live.foreign.len(), live.holds.len()), (1, 0), "{live:?}");
        let repair = server.bring(&m1());
        server.driver.settle(&Machine, &repair).unwrap();
        assert_eq!(server.observe().live.foreign, Vec::<String>::new());
        assert_eq!(server.ask("one.example", ATTACK), [Answer::Closed, Answer::Closed]);
    }
    let sets = fs::read_dir(server.path("data/nginx/sets")).unwrap();
    assert_eq!(sets.count(), 1 + texts.len(), "the live one and those that were edited");
}

#[test]
fn a_rejected_set_never_goes_live() {
    let Some(server) = server("a_rejected_set_never_goes_live") else { return };
    server.hook_one();
    let mut change = server.render(&m1()).change.unwrap();
    let set = change.after.unwrap();
    let mut files = set.files;
    files.insert("server.conf".into(), "no_such_directive on;\n".into());
    change.after = Some(GeneratedSet::new(files, set.holds));
    let before = server.files();
    let error = server.driver.check(&Machine, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::Rejected { message, .. } if message.contains("no_such_directive")),
        "{error}"
    );
    assert_eq!(server.files(), before);
}

#[test]
fn an_edit_that_nginx_rejects_is_put_back() {
    let Some(server) = server("an_edit_that_nginx_rejects_is_put_back") else { return };
    let before = server.files();
    let mut edits = server.driver.hook_edits(&Machine).unwrap();
    assert_eq!(edits.len(), 3, "conf.d and both sites: {edits:?}");
    edits[1].after = Some("no_such_directive on;\n".into());
    assert!(matches!(server.driver.edit(&Machine, &edits), Err(DriverError::Rejected { .. })));
    assert_eq!(server.files(), before);
}

#[test]
fn what_is_observed_goes_to_the_origin_and_is_a_line_of_the_error_log_until_it_is_to_refuse() {
    let test = "what_is_observed_goes_to_the_origin_and_is_a_line_of_the_error_log_until_it_is_to_refuse";
    let Some(server) = server(test) else { return };
    server.hook_one();
    let observed = server.observe();
    let rendered = server.render(&observing(m1()));
    let questions = probe::questions(&Machine, &observing(m1()), &rendered.placements, &observed, 1);
    assert_eq!(
        questions.len(),
        2,
        "the benign probe at each listener: what is observed is to refuse nothing"
    );
    let change = server.bring(&observing(m1()));
    assert!(
        change.steps().iter().any(|step| step.detail.contains("M1.1 to observe")),
        "{:?}",
        change.steps()
    );
    assert!(server.observe().live.holds.iter().all(|hold| hold.observe));
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    server.origin.lock().unwrap().clear();
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
    assert_eq!(server.ask("one.example", "/owa/"), [ok(), ok()]);
    assert_eq!(*server.origin.lock().unwrap(), [ATTACK, ATTACK, "/owa/", "/owa/"]);
    let lines = || {
        let log = fs::read_to_string(server.path("error.log")).unwrap();
        log.lines().filter(|line| line.contains("Stopgap observes example:M1.1")).map(str::to_owned).collect()
    };
    until(|| -> bool { Vec::<String>::len(&lines()) == 2 });
    let line = lines()[0].clone();
    assert!(line.contains("[error]") && line.contains("client: 127.0.0.1"), "{line}");
    assert!(line.contains(&format!("request: \"GET {ATTACK} HTTP/1.1\"")), "{line}");

    // Now it is to refuse: a change, although it is the same revision.
    let change = server.bring(&m1());
    assert_eq!(change.puts_on.len(), m1().len());
    assert_eq!(server.ask("one.example", ATTACK), [Answer::Closed, Answer::Closed]);
    assert_eq!(lines().len(), 2);
}
