//! The driver against the Apache httpd that a distribution ships, in Debian's layout: an origin behind two sites,
//! one of which has the hook for rules of its own.
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
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Hook;
use stopgap_core::plan::{GeneratedSet, Wanted};
use stopgap_core::proof::{Answer, Judgement};
use stopgap_drivers::apache::{self, Apache};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::probe::{self, Patience};
use stopgap_drivers::server::Settings;
use stopgap_drivers::set::Sets;
use stopgap_drivers::{Checked, Driver, DriverError, Machine};

use common::server::is_here;
use common::{ATTACK, free_port, log1, m1, observing, ok, serve_origin, until};

const BINARY: &str = "/usr/sbin/apache2";

const MODULES: [&str; 8] =
    ["authz_core", "alias", "setenvif", "proxy", "proxy_http", "ssl", "socache_shmcb", "headers"];

/// `None`, said aloud, where there is no Apache.
fn server(test: &str) -> Option<Server> {
    server_with("event", test)
}

/// `mpm`: how it has its workers.
fn server_with(mpm: &str, test: &str) -> Option<Server> {
    is_here(BINARY, test).then(|| start(mpm))
}

type Server = common::server::Server<Apache>;

/// A running Apache with a configuration of its own, and the origin behind it.
fn start(mpm: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let origin = Arc::new(Mutex::new(Vec::new()));
    let address = serve_origin(origin.clone());
    write_configuration(folder.path(), mpm, address);
    let etc = folder.path().join("etc/apache2");
    // As a service: with the variables that the configuration asks for.
    let master = Command::new("/bin/sh")
        .args(["-c", ". \"$0\" && exec \"$@\""])
        .arg(etc.join("envvars"))
        .args([BINARY, "-D", "FOREGROUND", "-d"])
        .arg(&etc)
        .arg("-f")
        .arg(etc.join("apache2.conf"))
        .stdin(Stdio::null())
        // It ends its whole group, with workers of some kinds.
        .process_group(0)
        .stderr(fs::File::create(folder.path().join("stderr.log")).unwrap())
        .spawn()
        .unwrap();
    let root = folder.path().to_owned();
    let settings = Settings { ..apache::settings("apache", root.join("data/apache"), root) };
    let server = Server { folder, master, driver: Apache::new(settings), origin };
    server.wait(|server| server.observe().warnings.is_empty());
    server
}

/// M1 on the first site alone, as for a server where it plays the Default Web Site.
fn m1_on_one() -> Vec<Wanted> {
    m1().into_iter().map(|wanted| Wanted { sites: Some(vec!["one.example".into()]), ..wanted }).collect()
}

fn write_configuration(folder: &Path, mpm: &str, origin: SocketAddr) {
    let etc = folder.join("etc/apache2");
    for name in ["conf-enabled", "sites-available", "sites-enabled", "mods-enabled"] {
        fs::create_dir_all(etc.join(name)).unwrap();
    }
    for name in ["data", "run", "htdocs"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let made = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
    fs::write(etc.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(etc.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let run = folder.join("run");
    fs::write(etc.join("envvars"), format!("export APACHE_RUN_DIR={}\n", run.display())).unwrap();
    fs::write(
        etc.join("apache2.conf"),
        format!(
            "# As Debian's.\nDefaultRuntimeDir ${{APACHE_RUN_DIR}}\nPidFile ${{APACHE_RUN_DIR}}/apache2.pid\n{user}\
             ErrorLog ${{APACHE_RUN_DIR}}/error.log\nServerName localhost\nDocumentRoot {}\n\
             IncludeOptional mods-enabled/*.load\nStartServers 2\nServerLimit 8\n<IfModule !mpm_prefork_module>\n\
             ThreadsPerChild 4\nMaxRequestWorkers 32\nMinSpareThreads 4\nMaxSpareThreads 8\n</IfModule>\nInclude ports.conf\nIncludeOptional conf-enabled/*.conf\n\
             IncludeOptional sites-enabled/*.conf\n",
            folder.join("htdocs").display()
        ),
    )
    .unwrap();
    for name in MODULES.into_iter().chain([format!("mpm_{mpm}").as_str()]) {
        let line = format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        fs::write(etc.join(format!("mods-enabled/{name}.load")), line).unwrap();
    }
    let (plain, tls) = (free_port(), free_port());
    fs::write(
        etc.join("ports.conf"),
        format!("Listen 127.0.0.1:{plain}\n<IfModule ssl_module>\n\tListen 127.0.0.1:{tls}\n</IfModule>\n"),
    )
    .unwrap();
    let proxy =
        format!("\tProxyPass / http://{origin}/ disablereuse=on nocanon\n\tAllowEncodedSlashes NoDecode\n");
    let one = format!(
        "<VirtualHost *:{plain}>\n\tServerName One.example\n\tServerAlias www.one.example\n{proxy}</VirtualHost>\n\n\
         <VirtualHost *:{tls}>\n\tServerName one.example\n\tSSLEngine on\n\tSSLCertificateFile cert.pem\n\t\
         SSLCertificateKeyFile key.pem\n{proxy}</VirtualHost>\n"
    );
    let two = format!("<VirtualHost *:{plain}>\n    ServerName two.example\n{proxy}</VirtualHost>");
    for (file, text) in [("one.conf", one), ("two.conf", two)] {
        fs::write(etc.join("sites-available").join(file), text).unwrap();
        std::os::unix::fs::symlink(
            Path::new("../sites-available").join(file),
            etc.join("sites-enabled").join(file),
        )
        .unwrap();
    }
}

const FORBIDDEN: fn() -> Answer =
    || Answer::Response { status: 403, media_type: "text/html".into(), header: vec![] };

#[test]
fn m1_is_put_on_one_site_proven_and_taken_off_to_the_byte() {
    let Some(server) = server("m1_is_put_on_one_site_proven_and_taken_off_to_the_byte") else { return };
    let untouched = server.files();
    let names: Vec<String> = server.observe().sites.into_iter().map(|site| site.name).collect();
    assert_eq!(names, ["one.example", "two.example"]);
    let Hook::Missing(why) = &server.observe().sites[0].hook else { panic!("there is no hook") };
    assert!(why.contains("apache2.conf: the server level lacks `IncludeOptional"), "{why}");
    let refused = server.render(&m1_on_one()).refused;
    assert!(refused[0].1.contains("no site reads our rules"), "{refused:?}");
    server.hook_one();
    let hooked = server.files();
    assert!(server.path("etc/apache2/conf-enabled/stopgap.conf").exists());
    let observed = server.observe();
    assert_eq!(observed.warnings, Vec::<String>::new());
    assert!(observed.sites.iter().all(|site| site.hook == Hook::Present));
    let lacks: Vec<&String> = observed.lacks.keys().collect();
    assert_eq!(lacks, ["site two.example"]);

    // Before: every probe reaches the origin.
    let wanted = m1_on_one();
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
    assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()], "at once");
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    let seen = server.origin.lock().unwrap().clone();
    assert!(seen.iter().all(|target| target == "/autodiscover/autodiscover.xml"), "{seen:?}");
    assert_eq!(server.ask("two.example", ATTACK), [ok()], "the site that it is not for");
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
fn rules_of_every_site_need_no_line_in_a_virtual_host() {
    let Some(server) = server("rules_of_every_site_need_no_line_in_a_virtual_host") else { return };
    server.hook(|edit| edit.path.ends_with("conf-enabled/stopgap.conf"));
    let observed = server.observe();
    let rendered = server.render(&log1());
    let refused: Vec<&str> = rendered.refused.iter().map(|(what, _)| what.action.as_str()).collect();
    // What Apache cannot be told exactly, by its name; the rest of the mitigation stands.
    assert_eq!(refused, ["LOG1.3", "LOG1.4"], "{:?}", rendered.refused);
    let questions = probe::questions(&Machine, &log1(), &rendered.placements, &observed, 1);
    server.bring(&log1());
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert_eq!(shown.len(), 3 * 3);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    // Rules of one site are told what they lack, and do not keep the others from their place.
    let both: Vec<Wanted> = [log1(), m1_on_one()].concat();
    let rendered = server.render(&both);
    assert_eq!(rendered.change, None);
    let (what, why) = rendered.refused.last().unwrap();
    assert_eq!(what.action.as_str(), "M1.1");
    assert!(why.contains("sites-enabled/one.conf:1: the virtual host lacks"), "{why}");
}

#[test]
fn a_missing_module_keeps_nobody_but_the_rules_that_need_it() {
    let Some(server) = server("a_missing_module_keeps_nobody_but_the_rules_that_need_it") else { return };
    server.hook_one();
    fs::remove_file(server.path("etc/apache2/mods-enabled/headers.load")).unwrap();
    let both = [common::mitigation("M2"), log1()].concat();
    let rendered = server.render(&both);
    let m2 = rendered.refused.iter().find(|(what, _)| what.action.as_str().starts_with("M2"));
    assert!(m2.unwrap().1.contains("a2enmod headers"), "{:?}", rendered.refused);
    server.bring(&both);
}

#[test]
fn what_older_rules_still_answer_is_told_until_it_ends() {
    let Some(server) = server("what_older_rules_still_answer_is_told_until_it_ends") else { return };
    server.hook_one();
    let listener = server.observe().sites[0].listeners.iter().find(|l| !l.tls).unwrap().clone();
    let mut upload = TcpStream::connect(listener.address).unwrap();
    // Of a shorter body Apache waits for the end.
    let (length, begun) = (40_001, "1".repeat(40_000));
    write!(upload, "POST /slow HTTP/1.1\r\nHost: one.example\r\nContent-Length: {length}\r\n\r\n{begun}")
        .unwrap();
    // The origin has it: the rules of now have let it through.
    until(|| !server.origin.lock().unwrap().is_empty());
    server.bring(&m1());
    assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()], "the first step is done");
    let warnings = || server.observe().warnings;
    assert!(warnings().iter().any(|w| w.contains("1 worker of before")), "{:?}", warnings());
    upload.write_all(b"2").unwrap();
    until(|| warnings().is_empty());
}

#[test]
fn whichever_way_it_has_its_workers_none_answers_by_older_rules_once_they_are_applied() {
    for mpm in ["event", "worker", "prefork"] {
        let test = "whichever_way_it_has_its_workers_none_answers_by_older_rules_once_they_are_applied";
        let Some(server) = server_with(mpm, test) else { return };
        server.hook_one();
        for turn in 0..3 {
            server.bring(&m1());
            // As many clients as would meet each worker.
            for _ in 0..8 {
                assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()], "{mpm} {turn}");
            }
            server.bring(&[]);
            for _ in 0..8 {
                assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()], "{mpm} {turn}");
            }
        }
    }
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
fn a_crash_between_the_swap_and_the_restart_is_answered_by_a_revert() {
    let Some(server) = server("a_crash_between_the_swap_and_the_restart_is_answered_by_a_revert") else {
        return;
    };
    server.hook_one();
    let hooked = server.files();
    let change = server.render(&m1()).change.unwrap();
    let sets = Sets {
        folder: server.path("data/apache"),
        files: &["server.conf"],
        keep_folder: false,
        at_all_times: false,
    };
    sets.swap(&Machine, &change).unwrap();
    // Here it ends, and another process begins with what the journal holds.
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.files(), hooked);
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
    server.bring(&m1());
    assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()]);
}

#[test]
fn a_configuration_that_somebody_broke_is_reported_and_apache_is_not_restarted_into_its_end() {
    let Some(server) =
        server("a_configuration_that_somebody_broke_is_reported_and_apache_is_not_restarted_into_its_end")
    else {
        return;
    };
    server.hook_one();
    let hooked = server.files();
    let change = server.bring(&m1());
    let broken = server.path("etc/apache2/conf-enabled/theirs.conf");
    fs::write(&broken, "NoSuchDirective on\n").unwrap();
    let before = server.files();
    for error in
        [server.driver.observe(&Machine).unwrap_err(), server.driver.check(&Machine, &change).unwrap_err()]
    {
        assert!(
            matches!(&error, DriverError::BrokenBefore { message, .. } if message.contains("theirs.conf")),
            "{error}"
        );
    }
    assert_eq!(server.files(), before);
    // A revert puts the files back all the same, and says that Apache still serves by the old ones.
    let error = server.driver.revert(&Machine, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::NotTaken { message, .. } if message.contains("the files are as before")),
        "{error}"
    );
    fs::remove_file(&broken).unwrap();
    assert_eq!(server.files(), hooked);
    assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()]);
    // And again, once the configuration is whole.
    server.driver.revert(&Machine, &change).unwrap();
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
}

#[test]
fn an_edit_of_our_file_is_noticed_and_repaired_even_where_it_broke_apache() {
    let Some(server) = server("an_edit_of_our_file_is_noticed_and_repaired_even_where_it_broke_apache")
    else {
        return;
    };
    server.hook_one();
    let change = server.render(&m1()).change.unwrap();
    // Only a private mount namespace shows the configuration without our files.
    let namespace = server.driver.check(&Machine, &change).unwrap() == Checked::Staged;
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    let texts = ["# by hand\n", "NoSuchDirective on\n"];
    let texts = if namespace { &texts[..] } else { &texts[..1] };
    for text in texts {
        fs::write(server.path("data/apache/live/server.conf"), text).unwrap();
        let live = server.observe().live;
        assert_eq!((live.foreign.len(), live.holds.len()), (1, 0), "{live:?}");
        let repair = server.bring(&m1());
        server.driver.settle(&Machine, &repair).unwrap();
        assert_eq!(server.observe().live.foreign, Vec::<String>::new());
        assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()]);
    }
    let sets = fs::read_dir(server.path("data/apache/sets")).unwrap();
    assert_eq!(sets.count(), 1 + texts.len(), "the live one and those that were edited");
}

#[test]
fn a_rejected_set_never_goes_live() {
    let Some(server) = server("a_rejected_set_never_goes_live") else { return };
    server.hook_one();
    let mut change = server.render(&m1()).change.unwrap();
    let set = change.after.unwrap();
    let mut files = set.files;
    files.insert("server.conf".into(), "NoSuchDirective on\n".into());
    change.after = Some(GeneratedSet::new(files, set.holds));
    let before = server.files();
    let error = server.driver.check(&Machine, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::Rejected { message, .. } if message.contains("NoSuchDirective")),
        "{error}"
    );
    assert_eq!(server.files(), before);
}

#[test]
fn an_edit_that_apache_rejects_is_put_back() {
    let Some(server) = server("an_edit_that_apache_rejects_is_put_back") else { return };
    let before = server.files();
    let mut edits = server.driver.hook_edits(&Machine).unwrap();
    assert_eq!(edits.len(), 3, "conf-enabled and both sites: {edits:?}");
    edits[1].after = Some("NoSuchDirective on\n".into());
    assert!(matches!(server.driver.edit(&Machine, &edits), Err(DriverError::Rejected { .. })));
    assert_eq!(server.files(), before);
}

#[test]
fn what_is_observed_goes_to_the_origin_and_is_a_line_of_the_error_log_until_it_is_to_refuse() {
    let test = "what_is_observed_goes_to_the_origin_and_is_a_line_of_the_error_log_until_it_is_to_refuse";
    let Some(server) = server(test) else { return };
    server.hook_one();
    server.bring(&observing(m1_on_one()));
    server.origin.lock().unwrap().clear();
    assert_eq!(server.ask("one.example", ATTACK), [ok(), ok()]);
    assert_eq!(server.ask("one.example", "/owa/"), [ok(), ok()]);
    assert_eq!(*server.origin.lock().unwrap(), [ATTACK, ATTACK, "/owa/", "/owa/"]);
    let lines = || -> Vec<String> {
        let log = fs::read_to_string(server.path("run/error.log")).unwrap();
        log.lines().filter(|line| line.contains("Stopgap observes example:M1.1")).map(str::to_owned).collect()
    };
    until(|| lines().len() == 2);
    let line = lines()[0].clone();
    assert!(line.contains("[client 127.0.0.1:"), "{line}");
    assert!(line.contains(&format!("GET {ATTACK} HTTP/1.1")), "{line}");

    server.bring(&m1_on_one());
    assert_eq!(server.ask("one.example", ATTACK), [FORBIDDEN(), FORBIDDEN()]);
    assert_eq!(lines().len(), 2);
}
