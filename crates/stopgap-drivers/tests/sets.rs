//! The sets of a target on a machine that fails at every operation in turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::path::Path;

use stopgap_core::observed::Hold;
use stopgap_core::plan::{Change, GeneratedSet};
use stopgap_drivers::DriverError;
use stopgap_drivers::host::Host;
use stopgap_drivers::set::Sets;
use stopgap_testkit::host::{FakeHost, Fault};

const FOLDER: &str = "/data/nginx";

fn sets() -> Sets {
    Sets {
        folder: FOLDER.into(),
        files: &["http.conf", "server.conf"],
        keep_folder: false,
        at_all_times: false,
    }
}

fn generated(content: &str) -> GeneratedSet {
    let files = ["http.conf", "server.conf"].map(|name| (name.to_owned(), format!("# {name}\n{content}\n")));
    let hold = Hold {
        key: "example:M1".parse().unwrap(),
        action: "M1.1".parse().unwrap(),
        digest: content.to_owned(),
        sites: vec!["a".to_owned()],
        observe: false,
    };
    GeneratedSet::new(files.into(), vec![hold])
}

fn change(before: Option<&GeneratedSet>, after: Option<&GeneratedSet>) -> Change {
    Change {
        target: "nginx".into(),
        folder: FOLDER.into(),
        before: before.map(|set| set.id.clone()),
        after: after.cloned(),
        rest: None,
        edits: vec![],
        switches: vec![],
        notes: vec![],
        takes_off: vec![],
        puts_on: vec![],
    }
}

/// A machine with data, and with `set` live on it.
fn host(live: Option<&GeneratedSet>) -> FakeHost {
    let host = FakeHost::new();
    host.put("/data/ledger", "x");
    if let Some(set) = live {
        let first = change(None, Some(set));
        sets().swap(&host, &first).unwrap();
        sets().settle(&host, &first).unwrap();
    }
    host
}

/// What a server reads through the link.
fn read(host: &FakeHost) -> Option<String> {
    host.peek(format!("{FOLDER}/live/server.conf")).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn what_is_swapped_in_is_observed_and_what_is_taken_off_leaves_nothing() {
    let (one, two) = (generated("one"), generated("two"));
    let host = host(None);
    let untouched = host.tree("/");
    let on = change(None, Some(&one));
    sets().swap(&host, &on).unwrap();
    sets().settle(&host, &on).unwrap();
    let live = sets().observe(&host).unwrap();
    assert_eq!((live.set.as_ref(), &live.holds, live.foreign.len()), (Some(&one.id), &one.holds, 0));
    let replaced = change(Some(&one), Some(&two));
    sets().swap(&host, &replaced).unwrap();
    assert_eq!(read(&host).unwrap(), "# server.conf\ntwo\n");
    assert!(host.peek(format!("{FOLDER}/sets/{}/server.conf", one.id)).is_some(), "kept until it is settled");
    sets().settle(&host, &replaced).unwrap();
    assert_eq!(host.peek(format!("{FOLDER}/sets/{}/server.conf", one.id)), None);
    let off = change(Some(&two), None);
    sets().swap(&host, &off).unwrap();
    sets().settle(&host, &off).unwrap();
    assert_eq!(host.tree("/"), untouched);
}

/// Every change that there is: on, other, off, the repair of an edited and of a missing set.
fn scenarios() -> Vec<(&'static str, FakeHost, Change)> {
    let (one, two) = (generated("one"), generated("two"));
    let edited = || {
        let host = host(Some(&one));
        host.put(format!("{FOLDER}/sets/{}/server.conf", one.id), "# by hand\n");
        host
    };
    let missing = host(Some(&one));
    missing.take(format!("{FOLDER}/sets/{}", one.id));
    vec![
        ("on", host(None), change(None, Some(&one))),
        ("other", host(Some(&one)), change(Some(&one), Some(&two))),
        ("off", host(Some(&one)), change(Some(&one), None)),
        ("repair", edited(), change(Some(&one), Some(&one))),
        ("repair without exchange", edited().without_exchange(), change(Some(&one), Some(&one))),
        ("repair of a missing set", missing, change(Some(&one), Some(&one))),
        ("other over an edited one", edited(), change(Some(&one), Some(&two))),
    ]
}

fn same_machine(name: &str) -> (FakeHost, Change) {
    let (_, host, change) = scenarios().into_iter().find(|(n, _, _)| *n == name).unwrap();
    (host, change)
}

/// Stops `work` at each of its operations in turn, and hands each machine to `then`.
fn at_every_operation(work: impl Fn(&FakeHost, &Change), then: impl Fn(&str, usize, &FakeHost, &Change)) {
    for (name, _, _) in scenarios() {
        for crash in [true, false] {
            for n in 0.. {
                let (host, change) = same_machine(name);
                host.set_fault(Some(if crash { Fault::Crash(n) } else { Fault::Once(n) }));
                work(&host, &change);
                let reached = host.operations().len() > n;
                host.set_fault(None);
                then(name, n, &host, &change);
                if !reached {
                    assert!(n > 4, "{name} has {n} operations: nothing was tried");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_swap_cut_short_anywhere_is_restored_to_the_byte() {
    at_every_operation(
        |host, change| drop(sets().swap(host, change)),
        |name, n, host, change| {
            let (untouched, _) = same_machine(name);
            sets().restore(host, change).unwrap_or_else(|e| panic!("{name}, stopped at {n}: {e:?}"));
            let ours = |path: &Path| path.starts_with("/data");
            let tree =
                |host: &FakeHost| -> Vec<_> { host.tree("/").into_iter().filter(|(p, _)| ours(p)).collect() };
            assert_eq!(tree(host), tree(&untouched), "{name}, stopped at {n}");
        },
    );
}

#[test]
fn a_restore_cut_short_anywhere_is_finished_by_the_next() {
    at_every_operation(
        |host, change| {
            let fault = host.operations().len();
            assert_eq!(fault, 0);
            // The swap itself happens on a whole machine.
            let swapped = host.suspended_fault(|| sets().swap(host, change));
            swapped.unwrap();
            drop(sets().restore(host, change));
        },
        |name, n, host, change| {
            let (untouched, _) = same_machine(name);
            sets().restore(host, change).unwrap_or_else(|e| panic!("{name}, stopped at {n}: {e:?}"));
            assert_eq!(host.tree("/data"), untouched.tree("/data"), "{name}, stopped at {n}");
        },
    );
}

#[test]
fn a_swap_cut_short_anywhere_can_be_finished_and_settled() {
    at_every_operation(
        |host, change| drop(sets().swap(host, change)),
        |name, n, host, change| {
            sets().swap(host, change).unwrap_or_else(|e| panic!("{name}, stopped at {n}: {e:?}"));
            sets().settle(host, change).unwrap();
            let live = sets().observe(host).unwrap();
            assert_eq!(live.set, change.after.as_ref().map(|s| s.id.clone()), "{name}, stopped at {n}");
            assert!(live.foreign.is_empty(), "{name}, stopped at {n}: {:?}", live.foreign);
        },
    );
}

#[test]
fn what_a_server_would_read_is_the_one_or_the_other_at_every_moment() {
    at_every_operation(
        |host, change| drop(sets().swap(host, change)),
        |name, n, host, change| {
            // Only a file system without an exchange has a moment with nothing.
            let mut allowed = vec![read(&same_machine(name).0)];
            allowed.push(change.after.as_ref().map(|set| set.files["server.conf"].clone()));
            if name == "repair without exchange" {
                allowed.push(None);
            }
            assert!(allowed.contains(&read(host)), "{name}, stopped at {n}: {:?}", read(host));
        },
    );
}

#[test]
fn an_edited_set_is_reported_moved_aside_and_never_lost() {
    let (one, two) = (generated("one"), generated("two"));
    for after in [&one, &two] {
        let host = host(Some(&one));
        host.put(format!("{FOLDER}/sets/{}/server.conf", one.id), "# by hand\n");
        let live = sets().observe(&host).unwrap();
        assert_eq!((live.set.as_ref(), live.holds.len()), (Some(&one.id), 0));
        assert!(live.foreign[0].contains("not as it was written"), "{:?}", live.foreign);
        let repair = change(Some(&one), Some(after));
        sets().swap(&host, &repair).unwrap();
        sets().settle(&host, &repair).unwrap();
        assert_eq!(read(&host).unwrap(), after.files["server.conf"]);
        let aside = host.peek(format!("{FOLDER}/sets/{}.edited-1/server.conf", one.id));
        assert_eq!(aside.as_deref(), Some(b"# by hand\n".as_slice()));
        // And a second one beside it.
        host.put(format!("{FOLDER}/sets/{}/server.conf", after.id), "# again\n");
        let again = change(Some(after), Some(after));
        sets().swap(&host, &again).unwrap();
        sets().settle(&host, &again).unwrap();
        let n = if after.id == one.id { 2 } else { 1 };
        assert!(host.peek(format!("{FOLDER}/sets/{}.edited-{n}/server.conf", after.id)).is_some());
    }
}

#[test]
fn a_missing_file_is_named() {
    let one = generated("one");
    let host = host(Some(&one));
    host.take(format!("{FOLDER}/sets/{}/http.conf", one.id));
    let live = sets().observe(&host).unwrap();
    assert_eq!(live.foreign[0], format!("{FOLDER}/sets/{}/http.conf is missing", one.id));
}

#[test]
fn what_changed_since_the_plan_is_left_alone() {
    let (one, two) = (generated("one"), generated("two"));
    let host = host(Some(&one));
    let before = host.tree("/");
    for planned in [change(None, Some(&two)), change(Some(&two), None)] {
        let error = sets().swap(&host, &planned).unwrap_err();
        assert!(matches!(&error, DriverError::ChangedUnderUs { found, .. } if *found == one.id), "{error}");
        let error = sets().restore(&host, &planned).unwrap_err();
        assert!(matches!(error, DriverError::ChangedUnderUs { .. }));
    }
    assert_eq!(host.tree("/"), before);
}

#[test]
fn a_link_that_somebody_pointed_elsewhere_is_reported_and_replaced_and_can_come_back() {
    let one = generated("one");
    let host = host(None);
    host.put("/elsewhere/server.conf", "theirs");
    host.create_dir_all(Path::new(FOLDER), 0o755).unwrap();
    host.symlink(Path::new("/elsewhere"), &Path::new(FOLDER).join("live")).unwrap();
    let live = sets().observe(&host).unwrap();
    assert!(live.foreign[0].contains("/elsewhere"), "{:?}", live.foreign);
    let mut planned = change(None, Some(&one));
    planned.before = live.set;
    sets().swap(&host, &planned).unwrap();
    assert_eq!(sets().observe(&host).unwrap().set, Some(one.id));
    sets().restore(&host, &planned).unwrap();
    assert_eq!(read(&host).unwrap(), "theirs");
}

#[test]
fn a_folder_in_the_place_of_the_link_is_not_replaced() {
    let host = host(None);
    host.put(format!("{FOLDER}/live/server.conf"), "theirs");
    assert!(!sets().observe(&host).unwrap().foreign.is_empty());
    assert!(sets().swap(&host, &change(None, Some(&generated("one")))).is_err());
    assert_eq!(read(&host).unwrap(), "theirs");
}

#[test]
fn a_set_is_on_the_disk_before_anything_points_at_it() {
    let one = generated("one");
    let host = host(None);
    host.set_fault(None);
    sets().swap(&host, &change(None, Some(&one))).unwrap();
    let operations = host.operations();
    let place =
        |word: &str| operations.iter().position(|o| o.starts_with(word)).unwrap_or_else(|| panic!("{word}"));
    let order = [
        place(&format!("write_new {FOLDER}/sets/.new/server.conf")),
        place(&format!("sync_dir {FOLDER}/sets/.new")),
        place(&format!("rename {FOLDER}/sets/.new {FOLDER}/sets/{}", one.id)),
        place(&format!("rename {FOLDER}/.live-new {FOLDER}/live")),
    ];
    assert!(order.is_sorted(), "{operations:#?}");
    assert_eq!(operations.last().unwrap(), &format!("sync_dir {FOLDER}"));
}

#[test]
fn staging_touches_nothing_that_is_live() {
    let (one, two) = (generated("one"), generated("two"));
    let host = host(Some(&one));
    let before = host.tree("/");
    let staged = sets().stage(&host, Some(&two)).unwrap();
    let text = host.peek(staged.join("live/server.conf")).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), two.files["server.conf"]);
    assert_eq!(read(&host).unwrap(), one.files["server.conf"]);
    sets().unstage(&host).unwrap();
    assert_eq!(host.tree("/"), before);
}
