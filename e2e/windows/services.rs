//! Services of Windows under the service control manager that runs here: the same driver, services that are real.

mod real;

use stopgap_core::plan::Wanted;
use stopgap_drivers::host::services::{Start, State};
use stopgap_drivers::winservice::{Settings, WinService};
use stopgap_drivers::{Driver, Machine};

use crate::drive::alone;
use real::{Services, run_as_service};

/// What the services of these tests run: this test's program with this test alone.
#[test]
fn is_a_service_where_it_was_started_as_one() {
    run_as_service();
}

fn apply(driver: &WinService, wanted: &[Wanted]) {
    let plan = || {
        let observed = driver.observe(&Machine).unwrap();
        let looked = driver.look(&Machine, wanted, &observed).unwrap();
        let rendered = driver.render(wanted, &looked);
        assert_eq!(rendered.refused, []);
        rendered.change
    };
    let change = plan().unwrap();
    driver.check(&Machine, &change).unwrap();
    driver.apply(&Machine, &change).unwrap();
    driver.settle(&Machine, &change).unwrap();
    assert_eq!(plan(), None);
}

#[test]
fn a_service_and_what_needs_it_go_out_of_service_and_come_back_as_they_were() {
    let _alone = alone();
    let services = Services::create(&[
        ("StopgapTestBase", Start::Automatic, &[]),
        ("StopgapTestUser", Start::Manual, &["StopgapTestBase"]),
    ]);
    services.start("StopgapTestBase");
    services.start("StopgapTestUser");
    let before = services.look();
    assert!(before.iter().all(|(_, _, state)| *state == State::Running), "{before:?}");

    let folder = tempfile::tempdir().unwrap();
    let driver = WinService::new(Settings {
        name: "winservice".into(),
        folder: folder.path().join("winservice"),
        never_touch: Vec::new(),
        max_stopped: 5,
    });
    let all = [real::wanted("P1.1", &["stopgaptestbase"])];
    apply(&driver, &all);
    let off = services.look();
    assert_eq!(off[0], ("StopgapTestBase".to_owned(), Start::Disabled, State::Stopped));
    assert_eq!(off[1], ("StopgapTestUser".to_owned(), Start::Manual, State::Stopped));
    assert!(driver.observe(&Machine).unwrap().live.active.unwrap());

    // Somebody enables and starts it again: that is repaired.
    services.set_start("StopgapTestBase", Start::Manual);
    services.start("StopgapTestBase");
    assert_eq!(driver.observe(&Machine).unwrap().live.foreign.len(), 2);
    apply(&driver, &all);
    assert_eq!(services.look(), off);

    apply(&driver, &[]);
    assert_eq!(services.look(), before);
    assert!(!folder.path().join("winservice").exists(), "nothing of ours is left");
}

#[test]
fn a_change_that_is_cut_short_goes_back() {
    let _alone = alone();
    let services = Services::create(&[("StopgapTestCut", Start::Delayed, &[])]);
    services.start("StopgapTestCut");
    let before = services.look();
    let folder = tempfile::tempdir().unwrap();
    let driver = WinService::new(Settings {
        name: "winservice".into(),
        folder: folder.path().join("winservice"),
        never_touch: Vec::new(),
        max_stopped: 5,
    });
    let all = [real::wanted("P1.1", &["StopgapTestCut"])];
    let observed = driver.observe(&Machine).unwrap();
    let change = driver.render(&all, &driver.look(&Machine, &all, &observed).unwrap()).change.unwrap();
    driver.apply(&Machine, &change).unwrap();
    driver.revert(&Machine, &change).unwrap();
    assert_eq!(services.look(), before);
    // By half: disabled, and not stopped yet.
    services.set_start("StopgapTestCut", Start::Disabled);
    driver.revert(&Machine, &change).unwrap();
    assert_eq!(services.look(), before);
}

/// Services that every Windows has are refused before anything is asked of them.
#[test]
fn what_windows_needs_is_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let driver = WinService::new(Settings {
        name: "winservice".into(),
        folder: folder.path().join("winservice"),
        never_touch: Vec::new(),
        max_stopped: 5,
    });
    let all = [real::wanted("P1.1", &["RpcSs"])];
    let observed = driver.observe(&Machine).unwrap();
    let rendered = driver.render(&all, &driver.look(&Machine, &all, &observed).unwrap());
    assert_eq!(rendered.change, None);
    assert_eq!(rendered.refused[0].1, "RpcSs is protected: Windows cannot work without it");
}
