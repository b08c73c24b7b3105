//! Pools of a php-fpm that a test scripts: a change that breaks anywhere goes back, and the last pool's unit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;

use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_drivers::Driver;
use stopgap_drivers::host::{Command, Output};
use stopgap_drivers::phpfpm::{Phpfpm, Settings, settings};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_testkit::host::{FakeHost, Fault, Node};

const POOLS: &str = "/etc/php/8.2/fpm/pool.d";

/// The pools in the files that a main file includes.
fn pools(host: &FakeHost, main: &str) -> Vec<String> {
    let text = String::from_utf8(host.peek(main).unwrap()).unwrap();
    let mut found = Vec::new();
    for pattern in text.lines().filter_map(|line| line.strip_prefix("include=")) {
        for (path, node) in host.tree(POOLS) {
            let path = path.to_str().unwrap();
            let named = path == pattern || (pattern.ends_with("/*.conf") && path.ends_with(".conf"));
            if let (true, Node::File(octets)) = (named, node) {
                let text = String::from_utf8(octets).unwrap();
                let name = text.lines().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
                found.extend(name.map(str::to_owned));
            }
        }
    }
    found
}

/// New processes for every pool that is configured now, whose sockets the master holds; none: it has ended.
fn serve(host: &FakeHost, first: u32) {
    for pid in 0..100 {
        host.take(format!("/proc/{pid}"));
    }
    let pools = pools(host, "/etc/php/8.2/fpm/php-fpm.conf");
    if pools.is_empty() {
        host.take("/run/php.pid");
        return;
    }
    host.put("/run/php.pid", "7\n");
    host.put("/proc/7/comm", "php-fpm8.2\n");
    host.put("/proc/7/fd/0", "");
    let mut table = "Num RefCount Protocol Flags Type St Inode Path\n".to_owned();
    let mut children = String::new();
    for (pid, pool) in (first..).zip(&pools) {
        host.put(format!("/proc/{pid}/cmdline"), format!("php-fpm: pool {pool}\0\0"));
        host.link(format!("/proc/7/fd/{pid}"), format!("socket:[{pid}]"));
        table += &format!("0: 00000002 00000000 00010000 0001 01 {pid} /run/{pool}.sock\n");
        children += &format!("{pid} ");
    }
    host.put("/proc/7/net/unix", table);
    host.put("/proc/7/task/7/children", children);
}

/// The pools that the processes serve.
fn served(host: &FakeHost) -> Vec<String> {
    let titles = host.tree("/proc").into_iter().filter(|(path, _)| path.ends_with("cmdline"));
    let mut found: Vec<String> = titles
        .filter_map(|(_, node)| match node {
            Node::File(title) => {
                let title = String::from_utf8(title).unwrap();
                Some(title.trim_end_matches('\0').strip_prefix("php-fpm: pool ")?.to_owned())
            }
            _ => None,
        })
        .collect();
    found.sort();
    found
}

fn machine(names: &[&str]) -> FakeHost {
    let host = FakeHost::new().on_run(program);
    host.put(
        "/etc/php/8.2/fpm/php-fpm.conf",
        format!("[global]\npid = /run/php.pid\ninclude={POOLS}/*.conf\n"),
    );
    for name in names {
        host.put(format!("{POOLS}/{name}.conf"), format!("[{name}]\nlisten = /run/$pool.sock\n"));
    }
    host.put("/var/lib/stopgap/ledger", "");
    serve(&host, 8);
    host
}

fn program(host: &FakeHost, command: &Command) -> io::Result<Output> {
    let said = |status, text: String| {
        Ok(Output { status: Some(status), stderr: text.into_bytes(), ..Output::default() })
    };
    if command.program == Path::new("/bin/sh") {
        match command.args[3].as_str() {
            "USR2" => {
                let children = host.peek("/proc/7/task/7/children").unwrap();
                let first: u32 =
                    String::from_utf8(children).unwrap().split(' ').next().unwrap().parse().unwrap();
                serve(host, if first < 50 { first + 10 } else { 8 });
            }
            "QUIT" => serve(host, 8),
            other => panic!("{other}"),
        }
        return said(0, String::new());
    }
    assert_eq!((command.program.to_str(), command.args[0].as_str()), (Some("/usr/sbin/php-fpm8.2"), "-tt"));
    let pools = pools(host, &command.args[2]);
    match pools.is_empty() {
        true => said(78, "ERROR: No pool defined. at least one pool section must be specified".to_owned()),
        false => said(0, pools.iter().map(|pool| format!("NOTICE: [{pool}]\n")).collect()),
    }
}

fn driver() -> Phpfpm {
    let base = settings("phpfpm", "/var/lib/stopgap/phpfpm".into(), "/".into(), "8.2");
    Phpfpm::new(Settings { never_touch: vec!["intra*".into()], max_stopped: 2, ..base })
}

fn wanted(id: &str, name: &str) -> Wanted {
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
            kind: ActionKind::AppPool { names: vec![name.to_owned()] },
        },
        probes: Vec::new(),
        sites: None,
    }
}

fn render(host: &FakeHost, wanted: &[Wanted]) -> Rendered {
    let observed = driver().observe(host).unwrap();
    let looked = driver().look(host, wanted, &observed).unwrap_or(observed);
    driver().render(wanted, &looked)
}

fn apply(host: &FakeHost, wanted: &[Wanted]) -> Change {
    let change = render(host, wanted).change.unwrap();
    driver().check(host, &change).unwrap();
    driver().apply(host, &change).unwrap();
    driver().settle(host, &change).unwrap();
    assert_eq!(render(host, wanted).change, None);
    change
}

#[test]
fn a_change_that_breaks_anywhere_goes_back_to_where_it_came_from() {
    let all = [wanted("P1", "www"), wanted("P2", "blog")];
    let mut broken = 0;
    for crash in [Fault::Crash as fn(usize) -> Fault, Fault::Once] {
        for (live, after) in [(&all[..0], &all[..]), (&all[..], &all[..0]), (&all[..1], &all[1..])] {
            for n in 0.. {
                let host = machine(&["blog", "shop", "www"]);
                if !live.is_empty() {
                    apply(&host, live);
                }
                let change = render(&host, after).change.unwrap();
                let (files, data) = (host.tree("/etc"), host.tree("/var"));
                let serves = served(&host);
                host.set_fault(Some(crash(n)));
                let failed = driver().apply(&host, &change).is_err();
                let reached = host.operations().len() > n;
                host.set_fault(None);
                broken += usize::from(failed);
                driver().revert(&host, &change).unwrap();
                assert_eq!(host.tree("/etc"), files, "stopped at {n}");
                assert_eq!(host.tree("/var"), data, "stopped at {n}");
                assert_eq!(served(&host), serves, "stopped at {n}");
                assert_eq!(driver().observe(&host).unwrap().live.foreign, Vec::<String>::new());
                if !reached {
                    break;
                }
            }
        }
    }
    assert!(broken > 100, "{broken}");
}

#[test]
fn a_process_number_that_cannot_be_read_is_not_a_php_fpm_that_does_not_run() {
    let host = machine(&["shop", "www"]);
    let change = render(&host, &[wanted("P1", "www")]).change.unwrap();
    for path in ["/run/php.pid", "/proc/7/comm"] {
        let refused_in = |work: &dyn Fn() -> String| {
            host.set_fault(None);
            work();
            let at = host.operations().iter().position(|words| *words == format!("read {path}")).unwrap();
            driver().revert(&host, &change).unwrap();
            host.set_fault(Some(Fault::Once(at)));
            let said = work();
            host.set_fault(None);
            driver().revert(&host, &change).unwrap();
            said
        };
        // An end that is not seen would leave its unit where it is; a reload that is left out, the pool.
        let observed =
            refused_in(&|| driver().observe(&host).map_or_else(|e| e.to_string(), |_| "observed".into()));
        assert!(observed.contains("it cannot be told whether php-fpm runs"), "{path}: {observed}");
        let applied =
            refused_in(&|| driver().apply(&host, &change).map_or_else(|e| e.to_string(), |()| "done".into()));
        assert!(applied.contains("it cannot be told whether php-fpm runs"), "{path}: {applied}");
    }
}

#[test]
fn what_is_never_touched_and_what_is_too_much_is_refused() {
    let host = machine(&["intranet", "a", "b", "c"]);
    let all = [wanted("P1", "intranet"), wanted("P2", "a"), wanted("P3", "b"), wanted("P4", "c")];
    let refused: Vec<String> = render(&host, &all).refused.into_iter().map(|(_, why)| why).collect();
    assert_eq!(
        refused,
        [
            "the pool intranet is in `never_touch` of this target (`intra*`)",
            "c would be pool number 3 out of service, and `max_stopped` of this target is 2"
        ]
    );
}

#[test]
fn a_pool_that_is_still_served_although_its_file_is_aside_is_repaired_by_a_reload() {
    let host = machine(&["shop", "www"]);
    let want = [wanted("P1", "www")];
    apply(&host, &want);
    // As after a reload that somebody began before.
    host.put("/proc/60/cmdline", "php-fpm: pool www\0");
    let children = String::from_utf8(host.peek("/proc/7/task/7/children").unwrap()).unwrap();
    host.put("/proc/7/task/7/children", children + "60 ");
    let foreign = driver().observe(&host).unwrap().live.foreign;
    assert_eq!(foreign, ["php-fpm still serves the pool www, whose files are aside"]);
    apply(&host, &want);
    assert_eq!(served(&host), ["shop"]);
}

#[test]
fn a_php_fpm_that_names_no_file_for_its_number_is_left_alone() {
    let host = machine(&["shop", "www"]);
    host.put("/etc/php/8.2/fpm/php-fpm.conf", format!("[global]\ninclude={POOLS}/*.conf\n"));
    let rendered = render(&host, &[wanted("P1", "www")]);
    assert_eq!(rendered.change, None);
    assert!(rendered.refused[0].1.contains("set `pid = "), "{rendered:?}");
}

#[test]
fn a_pool_comes_back_although_the_record_of_what_is_live_was_removed() {
    let host = machine(&["shop", "www"]);
    let (files, data) = (host.tree("/etc"), host.tree("/var/lib/stopgap/ledger"));
    apply(&host, &[wanted("P1", "www")]);
    host.take("/var/lib/stopgap/phpfpm/live");
    host.take("/var/lib/stopgap/phpfpm/sets");
    let change = render(&host, &[]).change;
    match change {
        Some(change) => {
            driver().apply(&host, &change).unwrap();
            driver().settle(&host, &change).unwrap();
        }
        None => panic!("nothing brings it back"),
    }
    assert_eq!((host.tree("/etc"), host.tree("/var/lib/stopgap/ledger")), (files, data));
    assert_eq!(served(&host), ["shop", "www"]);
}
