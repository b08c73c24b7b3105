//! What is the gateway's alone.

use std::io;

use crate::targets::*;
use stopgap_core::plan::Wanted;

#[test]
fn an_action_for_a_site_that_is_not_here_is_not_for_the_gateway() {
    let target = gateway();
    let elsewhere = Wanted { sites: Some(vec![]), ..wanted("M2", "owa") };
    assert_eq!(target.plan(std::slice::from_ref(&elsewhere)), None);
    target.bring(&[wanted("M1", "autodiscover"), elsewhere]);
    let rules = String::from_utf8(target.host.peek("/data/edge/live/rules.xml").unwrap()).unwrap();
    assert!(rules.contains("autodiscover") && !rules.contains("owa"), "{rules}");
}

#[test]
fn the_gateway_s_rules_are_the_action_s_own_but_for_their_name() {
    let target = gateway();
    target.bring(&[wanted("M1", "autodiscover")]);
    let text = String::from_utf8(target.memory()).unwrap();
    assert!(
        text.contains(
            r#"<rule name="Stopgap example M1.1 block &quot;autodiscover&quot; &amp; co" stopProcessing="true"><match url=".*"/>
  <conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions>
  <action type="AbortRequest"/></rule>"#
        ),
        "{text}"
    );
}

#[test]
fn a_gateway_that_refuses_a_set_is_an_error_that_a_revert_answers() {
    let mut target = gateway();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_control(|_, _, _| Ok(r#"{"active":"e3b0","rules":0,"error":"rule 1: no"}"#.into()));
    let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
    let error = target.driver.apply(&target.host, &change).unwrap_err();
    assert_eq!(error.to_string(), "edge did not take the new rules: rule 1: no");
}

#[test]
fn a_gateway_that_uses_other_rules_than_the_live_ones_is_told_again() {
    let target = gateway();
    let one = [wanted("M1", "autodiscover")];
    target.bring(&one);
    let good = target.memory();
    target.in_use.lock().unwrap().clear();
    assert_eq!(target.driver.observe(&target.host).unwrap().live.active, Some(false));
    target.bring(&one);
    assert_eq!(target.memory(), good);
    assert!(target.plan(&one).is_none());
}

#[test]
fn a_gateway_that_does_not_run_is_reported_and_finds_its_rules_when_it_starts() {
    let mut target = gateway();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_control(|_, _, _| Err(io::Error::from(io::ErrorKind::ConnectionRefused)));
    let observed = target.driver.observe(&target.host).unwrap();
    assert_eq!(observed.live.active, Some(false));
    assert!(observed.warnings[0].contains("/data/edge/control.sock"), "{:?}", observed.warnings);
    let one = [wanted("M1", "autodiscover")];
    target.bring(&one);
    assert!(target.host.peek("/data/edge/live/rules.xml").is_some());
    assert!(target.plan(&one).is_none(), "there is nothing more that a change could do");
}
