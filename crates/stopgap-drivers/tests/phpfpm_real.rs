//! The driver against the php-fpm that a distribution ships: two pools, asked over FastCGI.
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
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use stopgap_core::observed::Observed;
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_drivers::phpfpm::{Phpfpm, Settings, settings};
use stopgap_drivers::{Checked, Driver, DriverError, Machine};
use stopgap_feed::document::{Action, ActionKind, Scope};
use tempfile::TempDir;

use common::server::is_here;
use common::{files, until};

const BINARY: &str = "/usr/sbin/php-fpm8.2";

/// `None`, said aloud, where there is no php-fpm.
fn server(test: &str) -> Option<Server> {
    is_here(BINARY, test).then(Server::start)
}

struct Server {
    folder: TempDir,
    master: Child,
    driver: Phpfpm,
}

fn wanted(id: &str, names: &[&str]) -> Wanted {
    Wanted {
        observe: false,
        key: format!("example:{id}").parse().unwrap(),
        digest: "0".repeat(64),
        action: Action {
            id: format!("{id}.1").parse().unwrap(),
            description: String::new(),
            scope: Scope::Server,
            target: None,
            platform: None,
            kind: ActionKind::AppPool { names: names.iter().map(|name| (*name).to_owned()).collect() },
        },
        probes: Vec::new(),
        sites: None,
    }
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = folder.path().display().to_string();
        fs::create_dir(folder.path().join("pool.d")).unwrap();
        let main = format!(
            "[global]\npid = {at}/fpm.pid\nerror_log = {at}/fpm.log\nprocess_control_timeout = 5s\n\
             include={at}/pool.d/*.conf\n"
        );
        fs::write(folder.path().join("php-fpm.conf"), main).unwrap();
        fs::write(folder.path().join("ok.php"), "<?php usleep(2000); echo 'all is well';").unwrap();
        let server_folder = folder.path().join("data/phpfpm");
        let base = settings("phpfpm", server_folder, "/".into(), "8.2");
        let server = stopgap_drivers::server::Settings {
            config: folder.path().join("php-fpm.conf"),
            ..base.server.clone()
        };
        let driver = Phpfpm::new(Settings { server, ..base });
        for pool in ["www", "shop"] {
            write_pool(folder.path(), &format!("{pool}.conf"), &[pool]);
        }
        let master = run(folder.path());
        let server = Server { folder, master, driver };
        server.wait_for(&["www", "shop"]);
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wait_for(&self, pools: &[&str]) {
        until(|| pools.iter().all(|pool| self.asks(pool)));
    }

    fn asks(&self, pool: &str) -> bool {
        ask(&self.path(&format!("{pool}.sock")), &self.path("ok.php"))
    }

    fn observe(&self) -> Observed {
        self.driver.observe(&Machine).unwrap()
    }

    fn render(&self, wanted: &[Wanted]) -> Rendered {
        self.driver.render(wanted, &self.observe())
    }

    fn bring(&self, wanted: &[Wanted]) -> Change {
        let change = self.render(wanted).change.expect("a change");
        assert_eq!(self.driver.check(&Machine, &change).unwrap(), Checked::Staged);
        self.driver.apply(&Machine, &change).unwrap();
        self.driver.settle(&Machine, &change).unwrap();
        assert_eq!(self.render(wanted).change, None);
        change
    }

    fn reload(&self) {
        let path = format!("/proc/{0}/task/{0}/children", self.master.id());
        let children = || -> Vec<String> {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        let before = children();
        kill(Pid::from_raw(self.master.id() as i32), Signal::SIGUSR2).unwrap();
        until(|| children().len() == before.len() && !children().iter().any(|pid| before.contains(pid)));
    }
}

impl Server {
    /// A reload after which `www` has so many processes, and `shop` two.
    fn reload_with(&self, workers: usize) {
        kill(Pid::from_raw(self.master.id() as i32), Signal::SIGUSR2).unwrap();
        let path = format!("/proc/{0}/task/{0}/children", self.master.id());
        until(|| {
            fs::read_to_string(&path).unwrap_or_default().split_whitespace().count() == workers + 2
                && self.asks("www")
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.master.id() as i32), Signal::SIGTERM);
        let _ = self.master.wait();
    }
}

fn run(folder: &Path) -> Child {
    let log = fs::File::create(folder.join("stderr.log")).unwrap();
    Command::new(BINARY)
        .args(["-F", "-y"])
        .arg(folder.join("php-fpm.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn write_pool(folder: &Path, file: &str, pools: &[&str]) {
    let at = folder.display();
    let user = if geteuid().is_root() { "user = www-data\ngroup = www-data\n" } else { "" };
    let text: String = pools
        .iter()
        .map(|pool| {
            format!(
                "; the pool\n[{pool}]\n{user}listen = {at}/$pool.sock\npm = static\npm.max_children = 2\n"
            )
        })
        .collect();
    fs::write(folder.join("pool.d").join(file), text).unwrap();
}

/// Asks for a script; whether it answered as it does (the FastCGI specification, section 3).
fn ask(socket: &Path, script: &Path) -> bool {
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    let mut params = Vec::new();
    for (name, value) in
        [("SCRIPT_FILENAME", script.to_str().unwrap()), ("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/ok.php")]
    {
        params.extend([u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()]);
        params.extend(name.bytes().chain(value.bytes()));
    }
    let begin = record(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let request = [begin, record(4, &params), record(4, &[]), record(5, &[])].concat();
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = Vec::new();
    let sent = stream.write_all(&request).and_then(|()| stream.read_to_end(&mut answer));
    sent.is_ok() && String::from_utf8_lossy(&answer).contains("all is well")
}

#[test]
fn a_pool_goes_while_the_other_serves_and_comes_back_as_it_was() {
    let test = "a_pool_goes_while_the_other_serves_and_comes_back_as_it_was";
    let Some(server) = server(test) else { return };
    // Its file is a link, with a mode of its own.
    let file = server.path("pool.d/www.conf");
    fs::rename(&file, server.path("www.real")).unwrap();
    fs::set_permissions(server.path("www.real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../www.real", &file).unwrap();
    let before = files(server.folder.path());
    let inode = fs::symlink_metadata(&file).unwrap().ino();

    let want = [wanted("P1", &["missing", "WWW"])];
    let change = server.bring(&want);
    let steps: Vec<String> = change.steps().into_iter().map(|step| step.detail).collect();
    let moved = format!(
        "www: file {}/pool.d/www.conf.stopgap, state out of service (was ",
        server.folder.path().display()
    );
    assert!(steps.iter().any(|step| step.starts_with(&moved)), "{steps:#?}");
    assert!(change.notes[0].contains("www.sock gets no answer any more"), "{:?}", change.notes);
    assert!(!server.asks("www") && !server.path("www.sock").exists() && server.asks("shop"));
    let live = server.observe().live;
    assert_eq!((live.active, live.foreign, live.holds.len()), (Some(true), vec![], 1));

    server.bring(&[]);
    assert!(server.asks("www") && server.asks("shop"));
    assert_eq!(files(server.folder.path()), before);
    assert_eq!(fs::symlink_metadata(&file).unwrap().ino(), inode, "the very link");
    assert!(!server.path("data/phpfpm").exists());
}

#[test]
fn what_cannot_be_taken_out_alone_is_refused_with_the_reason() {
    let test = "what_cannot_be_taken_out_alone_is_refused_with_the_reason";
    let Some(server) = server(test) else { return };
    write_pool(server.folder.path(), "both.conf", &["one", "two"]);
    let refused = |name: &str| {
        let rendered = server.render(&[wanted("P1", &[name])]);
        assert_eq!(rendered.change, None);
        rendered.refused[0].1.clone()
    };
    assert!(refused("one").contains("both.conf together with two: give the pool a file of its own"));
    assert_eq!(refused("none"), "no pool here is named none");
    let main = fs::read_to_string(server.path("php-fpm.conf")).unwrap();
    fs::write(server.path("php-fpm.conf"), main + "[inmain]\nlisten = /tmp/x\n").unwrap();
    assert!(refused("inmain").contains("it is the main file"));
}

#[test]
fn a_file_that_was_edited_since_the_plan_and_a_configuration_that_is_broken_stop_the_change() {
    let test = "a_file_that_was_edited_since_the_plan_and_a_configuration_that_is_broken_stop_the_change";
    let Some(server) = server(test) else { return };
    let change = server.render(&[wanted("P1", &["www"])]).change.unwrap();
    let file = server.path("pool.d/www.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.clone() + "; edited\n").unwrap();
    let error = server.driver.check(&Machine, &change).unwrap_err();
    assert!(matches!(error, DriverError::ChangedUnderUs { .. }), "{error}");
    fs::write(&file, &text).unwrap();
    fs::write(server.path("pool.d/zz.conf"), "[zz]\nlisten = \n").unwrap();
    let error = server.driver.check(&Machine, &change).unwrap_err();
    assert!(matches!(error, DriverError::BrokenBefore { .. }), "{error}");
    // Nor is php-fpm told to read it, which would end it: what was moved goes back.
    assert!(server.driver.apply(&Machine, &change).is_err());
    assert!(server.driver.revert(&Machine, &change).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(server.asks("www") && server.asks("shop"));
}

#[test]
fn a_pool_that_comes_back_by_hand_is_seen_and_taken_out_again_and_anothers_file_is_left() {
    let test = "a_pool_that_comes_back_by_hand_is_seen_and_taken_out_again_and_anothers_file_is_left";
    let Some(server) = server(test) else { return };
    let (file, aside) = (server.path("pool.d/www.conf"), server.path("pool.d/www.conf.stopgap"));
    let want = [wanted("P1", &["www"])];
    server.bring(&want);
    fs::rename(&aside, &file).unwrap();
    server.reload_with(2);
    let live = server.observe().live;
    assert_eq!(live.active, Some(false));
    assert!(live.foreign[0].starts_with("the pool www was put back: "), "{:?}", live.foreign);
    server.bring(&want);
    assert!(aside.exists() && !file.exists() && !server.asks("www"));

    // Another file in its place: the newest is what comes back, and none is lost.
    write_pool(server.folder.path(), "www.conf", &["www"]);
    fs::write(&file, fs::read_to_string(&file).unwrap() + "; new\n").unwrap();
    server.bring(&want);
    let newer = server.path("pool.d/www.conf.stopgap-2");
    assert!(aside.exists() && newer.exists() && !file.exists());
    server.bring(&[]);
    assert!(fs::read_to_string(&file).unwrap().ends_with("; new\n") && aside.exists() && !newer.exists());
    assert!(server.asks("www"));
    fs::remove_file(&aside).unwrap();

    // Put there when the mitigation leaves: both stay.
    server.bring(&want);
    fs::write(&file, "[www]\nlisten = /nowhere\n").unwrap();
    let change = server.render(&[]).change.unwrap();
    assert!(
        change.switches.is_empty() && change.notes.iter().any(|note| note.contains("it stays, and so does"))
    );
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("/nowhere") && aside.exists());
}

#[test]
fn a_pool_in_several_files_goes_with_all_of_them() {
    let test = "a_pool_in_several_files_goes_with_all_of_them";
    let Some(server) = server(test) else { return };
    fs::write(server.path("pool.d/zz-www.conf"), "[WWW]\npm.max_children = 3\n").unwrap();
    server.reload_with(3);
    let before = files(server.folder.path());
    server.bring(&[wanted("P1", &["www"])]);
    assert!(!server.asks("www") && server.path("pool.d/zz-www.conf.stopgap").exists());
    server.bring(&[]);
    assert!(server.asks("www"));
    assert_eq!(files(server.folder.path()), before);
}

#[test]
fn with_its_last_pool_php_fpm_ends_and_starts_with_the_first() {
    let test = "with_its_last_pool_php_fpm_ends_and_starts_with_the_first";
    let Some(mut server) = server(test) else { return };
    let before = files(server.folder.path());
    let both = [wanted("P1", &["www"]), wanted("P2", &["shop"])];
    server.bring(&both[..1]);
    let change = server.bring(&both);
    assert!(change.notes.iter().any(|note| note.contains("it is ended")), "{:?}", change.notes);
    server.master.wait().unwrap();
    // What supervises it may try.
    assert!(!run(server.folder.path()).wait().unwrap().success());
    let change = server.bring(&both[1..]);
    assert!(change.notes.iter().any(|note| note.contains("has to start it")), "{:?}", change.notes);
    server.master = run(server.folder.path());
    server.wait_for(&["www"]);
    assert!(!server.asks("shop"));
    server.bring(&[]);
    server.wait_for(&["www", "shop"]);
    assert_eq!(files(server.folder.path()), before);
}

/// How many rounds the load test makes; `STOPGAP_PHPFPM_ROUNDS=100` for the figures.
fn rounds() -> usize {
    std::env::var("STOPGAP_PHPFPM_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[test]
fn another_pool_fails_no_request_that_plain_reloads_do_not_fail() {
    let test = "another_pool_fails_no_request_that_plain_reloads_do_not_fail";
    let Some(server) = server(test) else { return };
    let under_load = |work: &dyn Fn()| {
        let (stop, asked, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let (stop, asked, failed) = (Arc::new(stop), Arc::new(asked), Arc::new(failed));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (stop, asked, failed) = (stop.clone(), asked.clone(), failed.clone());
                let (socket, script) = (server.path("shop.sock"), server.path("ok.php"));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        asked.fetch_add(1, Ordering::Relaxed);
                        failed.fetch_add(usize::from(!ask(&socket, &script)), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        work();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        (asked.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    };
    let plain = under_load(&|| (0..2 * rounds()).for_each(|_| server.reload()));
    let want = [wanted("P1", &["www"])];
    let ours = under_load(&|| {
        for _ in 0..rounds() {
            server.bring(&want);
            server.bring(&[]);
        }
    });
    println!(
        "{} rounds: {} of {} requests failed; with {} plain reloads {} of {}",
        rounds(),
        ours.1,
        ours.0,
        2 * rounds(),
        plain.1,
        plain.0
    );
    assert!(ours.0 > rounds() && ours.1 <= plain.1, "{ours:?} {plain:?}");
}
