//! Services of Windows under a control manager that a test scripts: what is decided, and that a change that breaks
//! anywhere goes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "winservice/book.rs"]
mod book;

use book::{Book, machine, service, wanted};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_drivers::Driver;
use stopgap_drivers::host::services::{Start, State};
use stopgap_drivers::winservice::{Settings, WinService};
use stopgap_testkit::host::{FakeHost, Fault};

const FOLDER: &str = "/data/winservice";

fn driver() -> WinService {
    let (name, folder) = ("winservice".to_owned(), FOLDER.into());
    WinService::new(Settings { name, folder, never_touch: vec!["Database*".to_owned()], max_stopped: 2 })
}

fn render(host: &FakeHost, wanted: &[Wanted]) -> Rendered {
    let observed = driver().observe(host).unwrap();
    let looked = driver().look(host, wanted, &observed).unwrap();
    driver().render(wanted, &looked)
}

fn carry_out(host: &FakeHost, change: &Change) {
    driver().check(host, change).unwrap();
    driver().apply(host, change).unwrap();
    driver().settle(host, change).unwrap();
}

fn apply(host: &FakeHost, wanted: &[Wanted]) -> Change {
    let change = render(host, wanted).change.unwrap();
    carry_out(host, &change);
    assert_eq!(render(host, wanted).change, None);
    change
}

/// Printing with what needs it, two services deep; and Exchange with its watchdogs.
fn server() -> (FakeHost, Book) {
    machine(&[
        service("Spooler", Start::Automatic, State::Running, &["Fax", "Scan"]),
        service("Fax", Start::Manual, State::Running, &["FaxArchive"]),
        service("FaxArchive", Start::Delayed, State::Running, &[]),
        service("Scan", Start::Disabled, State::Stopped, &[]),
        service("MSExchangeUM", Start::Delayed, State::Running, &[]),
        service("MSExchangeUMCR", Start::Manual, State::Stopped, &[]),
        service("MSExchangeHM", Start::Automatic, State::Running, &[]),
        service("MSExchangeHMRecovery", Start::Automatic, State::Running, &[]),
        service("MSExchangeMitigation", Start::Automatic, State::Running, &[]),
        service("Network", Start::Automatic, State::Running, &["WinRM"]),
        service("WinRM", Start::Automatic, State::Running, &[]),
        service("DatabaseOne", Start::Automatic, State::Running, &[]),
        service("Old", Start::Disabled, State::Running, &[]),
    ])
}

#[test]
fn a_change_that_breaks_anywhere_goes_back_to_where_it_came_from() {
    let all = [wanted("P1.1", &["no such", "spooler"]), wanted("P1.2", &["MSExchangeUM"])];
    let count = {
        let (host, _) = server();
        let change = render(&host, &all).change.unwrap();
        host.set_fault(None);
        driver().apply(&host, &change).unwrap();
        host.operations().len()
    };
    let mut broken = 0;
    for fault in (0..count).flat_map(|n| [Fault::Once(n), Fault::Crash(n)]) {
        for back in [false, true] {
            let (host, book) = server();
            let mut to = book.lock().unwrap().clone();
            let mut change = render(&host, &all).change.unwrap();
            if back {
                apply(&host, &all);
                change = render(&host, &[]).change.unwrap();
                to = book.lock().unwrap().clone();
            }
            host.set_fault(Some(fault));
            let failed = driver().apply(&host, &change).is_err();
            host.set_fault(None);
            broken += usize::from(failed);
            driver().revert(&host, &change).unwrap();
            assert_eq!(*book.lock().unwrap(), to, "{fault:?} {back}");
            let live = driver().observe(&host).unwrap().live;
            assert_eq!((live.set.is_some(), live.foreign), (back, vec![]), "{fault:?}");
        }
    }
    assert!(broken > count, "{broken} of {count}");
}

#[test]
fn dependents_stop_first_and_come_back_last_each_with_the_start_type_that_it_had() {
    let (host, book) = server();
    let before = book.lock().unwrap().clone();
    let change = apply(&host, &[wanted("P1.1", &["Spooler"])]);
    assert_eq!(change.notes, ["Spooler: this also stops FaxArchive, Fax"]);
    let found = book.lock().unwrap().clone();
    assert_eq!((found["Spooler"].start, found["Spooler"].state), (Start::Disabled, State::Stopped));
    assert_eq!((found["Fax"].start, found["Fax"].state), (Start::Manual, State::Stopped));
    apply(&host, &[]);
    assert_eq!(*book.lock().unwrap(), before);
    assert!(host.tree(FOLDER).is_empty(), "nothing of ours is left");
}

#[test]
fn watchdogs_go_first_and_stay_off_while_any_mitigation_needs_them() {
    let (host, book) = server();
    let before = book.lock().unwrap().clone();
    let (one, both) = (
        [wanted("P2.1", &["MSExchangeUMCR"])],
        [wanted("P1.1", &["MSExchangeUM"]), wanted("P2.1", &["MSExchangeUMCR"])],
    );
    let change = apply(&host, &both);
    let names: Vec<&str> = change.switches.iter().map(|switch| switch.name.as_str()).collect();
    assert_eq!(names, ["MSExchangeHM", "MSExchangeHMRecovery", "MSExchangeUM", "MSExchangeUMCR"]);
    let change = apply(&host, &one);
    assert_eq!(change.switches.len(), 1);
    let found = book.lock().unwrap().clone();
    assert_eq!((found["MSExchangeUM"].start, found["MSExchangeUM"].state), (Start::Delayed, State::Running));
    assert_eq!(found["MSExchangeHM"].start, Start::Disabled);
    apply(&host, &[]);
    assert_eq!(*book.lock().unwrap(), before);
}

#[test]
fn what_no_server_can_do_without_is_refused_with_the_reason() {
    let (host, book) = server();
    let before = book.lock().unwrap().clone();
    for (name, why) in [
        ("winrm", "WinRM is protected: remote administration"),
        ("MSExchangeMitigation", "MSExchangeMitigation is protected: Microsoft's mitigation service"),
        ("Network", "WinRM cannot do without Network, and WinRM is protected: remote administration"),
        ("DatabaseOne", "DatabaseOne is in `never_touch` of this target (`Database*`)"),
        ("None", "no service here is named None"),
        ("a\\b", "no service here is named a\\b"),
    ] {
        let rendered = render(&host, &[wanted("P1.1", &[name])]);
        assert_eq!(rendered.change, None, "{name}");
        assert!(rendered.refused[0].1.eq_ignore_ascii_case(why), "{}", rendered.refused[0].1);
    }
    let three = ["Spooler", "Fax", "MSExchangeUM"];
    let all: Vec<Wanted> = three.iter().map(|name| wanted(&format!("{name}.1"), &[name])).collect();
    let refused = render(&host, &all).refused;
    assert!(refused[0].1.contains("service number 3"), "{refused:?}");
    assert_eq!(*book.lock().unwrap(), before);
}

#[test]
fn what_somebody_starts_or_enables_again_is_repaired_and_what_they_changed_before_a_revert_is_left() {
    let (host, book) = server();
    let all = [wanted("P1.1", &["Spooler"])];
    apply(&host, &all);
    book.lock().unwrap().get_mut("Spooler").unwrap().start = Start::Manual;
    book.lock().unwrap().get_mut("Spooler").unwrap().state = State::Running;
    let live = driver().observe(&host).unwrap().live;
    assert_eq!(live.active, Some(false));
    assert_eq!(
        live.foreign,
        [
            "Spooler was started again: it is running",
            "Spooler is not disabled any more: its start type is manual"
        ]
    );
    apply(&host, &all);
    assert_eq!(book.lock().unwrap()["Spooler"].start, Start::Disabled);
    // Somebody decides otherwise, and then the mitigation leaves.
    book.lock().unwrap().get_mut("Spooler").unwrap().start = Start::Manual;
    apply(&host, &[]);
    let found = book.lock().unwrap()["Spooler"].clone();
    assert_eq!((found.start, found.state), (Start::Manual, State::Stopped), "theirs, and left");
}

#[test]
fn one_that_was_disabled_before_stays_disabled_and_a_change_between_plan_and_apply_is_noticed() {
    let (host, book) = server();
    apply(&host, &[wanted("P1.1", &["Old"])]);
    assert_eq!(book.lock().unwrap()["Old"].state, State::Stopped);
    apply(&host, &[]);
    assert_eq!(book.lock().unwrap()["Old"].start, Start::Disabled);
    let change = render(&host, &[wanted("P1.1", &["Spooler"])]).change.unwrap();
    book.lock().unwrap().get_mut("Spooler").unwrap().start = Start::Manual;
    let error = driver().check(&host, &change).unwrap_err();
    assert_eq!(error.code(), "changed-under-us");
    assert!(error.to_string().contains("expected automatic, found manual"), "{error}");
}

#[test]
fn a_lost_or_damaged_record_does_not_keep_a_service_off_for_ever() {
    let all = [wanted("P1.1", &["Spooler"]), wanted("P1.2", &["MSExchangeUM"])];
    let id = |host: &FakeHost| driver().observe(host).unwrap().live.set.unwrap();
    let lost = |host: &FakeHost| host.take(format!("{FOLDER}/live"));
    let gone = |host: &FakeHost| host.take(format!("{FOLDER}/sets/{}", id(host)));
    let damaged = |host: &FakeHost| host.put(format!("{FOLDER}/sets/{}/record.json", id(host)), "{}");
    for (which, harm) in [&lost as &dyn Fn(&FakeHost), &gone, &damaged].into_iter().enumerate() {
        let (host, book) = server();
        let before = book.lock().unwrap().clone();
        apply(&host, &all);
        harm(&host);
        apply(&host, &[]);
        assert_eq!(*book.lock().unwrap(), before, "{which}");
        assert!(host.peek(format!("{FOLDER}/.record.json")).is_none());
    }
}

#[test]
fn a_system_without_a_control_manager_refuses_and_changes_nothing() {
    let host = FakeHost::new();
    let all = [wanted("P1.1", &["Spooler"])];
    let observed = driver().observe(&host).unwrap();
    assert_eq!(driver().look(&host, &all, &observed), None);
    let refused = driver().render(&all, &observed).refused;
    assert_eq!(refused[0].1, "no service control manager runs this server: it is not Windows");
}
