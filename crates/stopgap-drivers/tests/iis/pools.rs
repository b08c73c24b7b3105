//! Application pools out of service and back.

use stopgap_core::plan::StepKind;
use stopgap_drivers::{Driver, DriverError};

use crate::exchange::HOST;
use crate::server::Server;
use crate::{RUNNING, synthetic};

fn line(server: &Server, pool: &str) -> String {
    let text = server.text(HOST);
    text.lines().find(|line| line.contains(&format!("<add name=\"{pool}\""))).unwrap().trim().to_owned()
}

#[test]
fn a_pool_is_set_not_to_start_and_stopped_and_put_back_as_it_was() {
    let server = Server::new(&synthetic("\r\n"), &RUNNING);
    let before = server.files();
    let change = server.bring(&server.shipped("PL3"));
    assert_eq!(
        line(&server, "MSExchangeECPAppPool"),
        r#"<add name="MSExchangeECPAppPool" autoStart="false" startMode='OnDemand' />"#
    );
    assert!(!server.pools.lock().unwrap()["MSExchangeECPAppPool"]);
    let stop = change.steps().into_iter().find(|step| step.kind == StepKind::Stop).unwrap();
    assert!(
        stop.detail.contains("state Stopped (was autoStart true, startMode AlwaysRunning, state Started)"),
        "{stop:?}"
    );
    let change = server.bring(&[]);
    assert!(change.steps().iter().any(|step| step.kind == StepKind::Restore));
    assert_eq!(server.files(), before);
    assert!(server.pools.lock().unwrap()["MSExchangeECPAppPool"]);
}

#[test]
fn a_pool_that_two_mitigations_need_off_comes_back_with_the_last_of_them() {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    let before = server.files();
    let one = server.shipped("PL3");
    let path = format!("{}/../../mitigations/PL3/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
    let other = server.wanted(&std::fs::read_to_string(path).unwrap().replace("\"PL3", "\"PL9"));
    server.bring(&one);
    let change = server.bring(&[one.clone(), other.clone()].concat());
    assert_eq!((change.edits.len(), change.switches.len()), (0, 0), "it is off already");
    let change = server.bring(&other);
    assert_eq!((change.edits.len(), change.switches.len()), (0, 0), "it is still needed off");
    assert!(!server.pools.lock().unwrap()["MSExchangeECPAppPool"]);
    server.bring(&[]);
    assert_eq!(server.files(), before);
    assert!(server.pools.lock().unwrap()["MSExchangeECPAppPool"]);
}

#[test]
fn whatever_else_stops_with_a_pool_is_in_the_plan() {
    let mut files = synthetic("\n");
    let text = String::from_utf8(files[0].1.clone()).unwrap();
    let shared = text
        .replace(r#"path="/ecp""#, r#"path="/ecp" applicationPool="MSExchangeECPAppPool""#)
        .replace(r#"<application path="/owa"><virtualDirectory path="/" physicalPath="C:\Exchange\ClientAccess"#,
            r#"<application path="/owa" applicationPool="MSExchangeECPAppPool"><virtualDirectory path="/" physicalPath="C:\Exchange\ClientAccess"#);
    files[0].1 = shared.into_bytes();
    let server = Server::new(&files, &RUNNING);
    let change = server.plan(&server.shipped("PL3")).unwrap();
    assert_eq!(change.switches[0].also, ["Default Web Site/ecp", "Exchange Back End/owa"]);
}

#[test]
fn without_appcmd_the_lasting_part_is_done_and_the_plan_says_so() {
    let server = Server::new(&synthetic("\n"), &[]);
    let change = server.bring(&server.shipped("PL3"));
    assert!(change.notes.iter().any(|note| note.contains("is not stopped now")), "{:?}", change.notes);
    assert!(!change.switches[0].after.contains_key("state"));
    assert_eq!(server.observe().live.holds.len(), 1);
}

#[test]
fn a_pool_that_somebody_starts_again_is_seen_and_stopped_and_one_that_they_set_stays_set() {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    let wanted = server.shipped("PL3");
    server.bring(&wanted);
    server.pools.lock().unwrap().insert("MSExchangeECPAppPool".into(), true);
    let observed = server.observe();
    assert_eq!(observed.live.foreign, ["application pool MSExchangeECPAppPool was started by somebody"]);
    assert_eq!(observed.live.holds, [], "in force means observed");
    let change = server.bring(&wanted);
    assert_eq!((change.edits.len(), change.switches.len()), (0, 1));
    assert!(!server.pools.lock().unwrap()["MSExchangeECPAppPool"]);

    // Its administrator decides otherwise while it is off: that word stays when we go.
    let text = server.text(HOST).replace("startMode='OnDemand'", "startMode='AlwaysRunning'");
    server.host.put(crate::server::place(HOST), text);
    assert_eq!(server.observe().live.foreign.len(), 1);
    server.bring(&[]);
    assert!(line(&server, "MSExchangeECPAppPool").contains("startMode='AlwaysRunning'"));
}

#[test]
fn a_pool_that_does_not_stop_is_no_success_and_one_that_is_not_there_is_refused() {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    let before = server.files();
    let change = server.plan(&server.shipped("PL3")).unwrap();
    server.pools.lock().unwrap().remove("MSExchangeECPAppPool");
    let error = server.driver.apply(&server.host, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::NotTaken { message, .. } if message.contains("was not stopped")),
        "{error}"
    );
    server.pools.lock().unwrap().insert("MSExchangeECPAppPool".into(), true);
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.files(), before);

    let text = server.text(HOST).replace("MSExchangeECPAppPool", "Another");
    server.host.put(crate::server::place(HOST), text);
    let rendered = server.render(&server.shipped("PL3"));
    assert_eq!(rendered.refused[0].1, "there is no application pool MSExchangeECPAppPool");
    assert!(rendered.change.is_none());
}
