//! Rules in IIS's own files, on drive C:.

use crate::drive::{Appcmd, Drive};
use crate::world::{ATTACK, LEGITIMATE, Model, World};

#[test]
fn m1_is_put_into_the_files_of_drive_c_proven_and_taken_off_to_the_byte() {
    let drive = Drive::new();
    let model = Model::start();
    let world = World::new();
    world.configure(Some(model.address));
    assert_eq!((model.status(ATTACK), model.status(LEGITIMATE)), (Some(200), Some(200)));

    let plan = world.ok(&["plan", "--json"]);
    assert!(plan.stdout.contains("Stopgap example M1.1"), "{}", plan.stdout);
    drive.assert_untouched();

    world.ok(&["apply"]);
    let mitigation = world.mitigation("M1");
    assert_eq!(mitigation["in_force"], true, "{mitigation:#}");
    assert!(!mitigation["proven_at"].is_null(), "{mitigation:#}");
    assert!(drive.holds("Stopgap example M1.1"));
    assert_eq!((model.status(ATTACK), model.status(LEGITIMATE)), (None, Some(200)));

    world.ok(&["revert", "M1"]);
    drive.assert_untouched();
    assert_eq!(model.status(ATTACK), Some(200));
}

/// A pool that no request of the probe's needs.
const STOPS_OAB: &str = r#"<Config id="X1" desc="stops a pool">
  <ActionList><Action id="X1.1" type="AppPool" scope="Server" desc="oab"><Value>MSExchangeOABAppPool</Value></Action></ActionList>
  <Probes><Request expect="allowed">GET /owa/ HTTP/1.1</Request></Probes>
</Config>
"#;

#[test]
fn a_pool_is_stopped_by_appcmd_and_comes_back_as_it_was() {
    let drive = Drive::new();
    let appcmd = Appcmd::put(&["DefaultAppPool", "MSExchangeOABAppPool", "Own"]);
    let model = Model::start();
    let world = World::new();
    world.add("X1", STOPS_OAB);
    world.configure(Some(model.address));

    world.ok(&["apply"]);
    let mitigation = world.mitigation("X1");
    assert_eq!(mitigation["in_force"], true, "{mitigation:#}");
    assert_eq!(appcmd.pools(), "DefaultAppPool=Started\nMSExchangeOABAppPool=Stopped\nOwn=Started\n");
    assert!(appcmd.was_asked("stop | apppool | /apppool.name:MSExchangeOABAppPool"));

    world.ok(&["revert", "X1"]);
    world.ok(&["revert", "M1"]);
    assert_eq!(appcmd.pools(), "DefaultAppPool=Started\nMSExchangeOABAppPool=Started\nOwn=Started\n");
    drop(appcmd);
    drive.assert_untouched();
}
