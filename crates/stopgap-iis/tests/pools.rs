//! Application pools out of service and back: the file afterwards is the file before, unless another hand was in it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use stopgap_iis::Document;
use stopgap_iis::pools::appcmd::{AnswerError, Command, State, arguments, refusal, state};
use stopgap_iis::pools::{Before, PoolError, pools, put_back, take_out};

/// Two sites that share pools, as Exchange's do; CRLF, and a default for every pool.
fn host() -> Document {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<configuration>
    <system.applicationHost>
        <applicationPools>
            <add name="DefaultAppPool" />
            <add name="MSExchangeOWAAppPool" autoStart="true" managedRuntimeVersion="v4.0" startMode='AlwaysRunning'>
                <processModel identityType="LocalSystem" />
            </add>
            <add name="MSExchangeECPAppPool" queueLength="1000" />
            <applicationPoolDefaults managedRuntimeVersion="v4.0" startMode="AlwaysRunning" />
        </applicationPools>
        <sites>
            <site name="Default Web Site">
                <application path="/">
                    <virtualDirectory path="/" physicalPath="C:\inetpub\wwwroot" />
                </application>
                <application path="/owa" applicationPool="MSExchangeOWAAppPool">
                    <virtualDirectory path="/" physicalPath="C:\owa" />
                </application>
                <application path="/ecp" applicationPool="msexchangeecpapppool">
                    <virtualDirectory path="/" physicalPath="C:\ecp" />
                </application>
            </site>
            <site name="Exchange Back End">
                <applicationDefaults applicationPool="MSExchangeOWAAppPool" />
                <application path="/">
                    <virtualDirectory path="/" physicalPath="C:\back" />
                </application>
                <application path="/owa">
                    <virtualDirectory path="/" physicalPath="C:\back\owa" />
                </application>
            </site>
            <applicationDefaults applicationPool="DefaultAppPool" />
        </sites>
    </system.applicationHost>
</configuration>
"#;
    parsed(&text.replace('\n', "\r\n"))
}

fn parsed(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

fn line<'d>(document: &'d Document, pool: &str) -> &'d str {
    document.text().lines().find(|line| line.contains(&format!("<add name=\"{pool}\""))).unwrap().trim()
}

#[test]
fn every_pool_has_its_settings_and_what_runs_in_it_defaults_and_all() {
    let pools = pools(&host()).unwrap();
    let text = |n: usize| (pools[n].auto_start.as_str(), pools[n].start_mode.as_str());
    assert_eq!(
        pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["DefaultAppPool", "MSExchangeOWAAppPool", "MSExchangeECPAppPool"]
    );
    assert_eq!([text(0), text(1), text(2)], [("true", "AlwaysRunning"); 3]);
    assert_eq!(pools[0].applications, ["Default Web Site"], "by the default of all sites");
    assert_eq!(
        pools[1].applications,
        ["Default Web Site/owa", "Exchange Back End", "Exchange Back End/owa"],
        "by its own word and by the default of its site"
    );
    assert_eq!(pools[2].applications, ["Default Web Site/ecp"], "in any case");

    let bare = parsed(
        "<configuration><system.applicationHost><applicationPools><add name=\"A\"/></applicationPools></system.applicationHost></configuration>",
    );
    let pools = stopgap_iis::pools::pools(&bare).unwrap();
    assert_eq!(
        (pools[0].auto_start.as_str(), pools[0].start_mode.as_str()),
        ("true", "OnDemand"),
        "IIS's own"
    );
}

#[test]
fn a_pool_is_taken_out_and_put_back_to_the_byte() {
    let host = host();
    for (pool, out) in [
        ("DefaultAppPool", r#"<add name="DefaultAppPool" autoStart="false" startMode="OnDemand" />"#),
        (
            "MSExchangeOWAAppPool",
            r#"<add name="MSExchangeOWAAppPool" autoStart="false" managedRuntimeVersion="v4.0" startMode='OnDemand'>"#,
        ),
        (
            "MSExchangeECPAppPool",
            r#"<add name="MSExchangeECPAppPool" queueLength="1000" autoStart="false" startMode="OnDemand" />"#,
        ),
    ] {
        let plan = take_out(&host, &pool.to_uppercase()).unwrap();
        assert_eq!(plan.before.pool, pool);
        let after = host.with(&plan.edits).unwrap();
        assert_eq!(line(&after, pool), out);
        assert_eq!(pools(&after).unwrap().iter().find(|p| p.name == pool).unwrap().auto_start, "false");

        let back = put_back(&after, &plan.before).unwrap();
        assert_eq!((back.foreign.len(), back.starts), (0, true));
        assert_eq!(after.with(&back.edits).unwrap().to_bytes(), host.to_bytes(), "{pool}");
    }
}

#[test]
fn whatever_a_pool_said_before_it_says_afterwards() {
    let settings = |name: &str, values: &[&str]| -> Vec<String> {
        let given = values.iter().flat_map(|v| [format!(" {name}=\"{v}\""), format!("\t{name} = '{v}'")]);
        given.chain([String::new()]).collect()
    };
    for auto in settings("autoStart", &["true", "True", "false", "FALSE", ""]) {
        for mode in settings("startMode", &["OnDemand", "AlwaysRunning", "ondemand"]) {
            for pool in [
                format!("<add name=\"P\"{auto}{mode}/>"),
                format!("<add{mode}\n  name=\"P\"{auto} ><x/></add>"),
            ] {
                let text = host().text().replace("<add name=\"DefaultAppPool\" />", &pool);
                let host = parsed(&text);
                let plan = take_out(&host, "p").unwrap();
                let out = host.with(&plan.edits).unwrap();
                let state = pools(&out).unwrap().into_iter().find(|pool| pool.name == "P").unwrap();
                assert_eq!(
                    (state.auto_start.to_lowercase().as_str(), state.start_mode.to_lowercase().as_str()),
                    ("false", "ondemand"),
                    "{pool}"
                );
                let back = put_back(&out, &plan.before).unwrap();
                assert_eq!(
                    (out.with(&back.edits).unwrap().text(), back.foreign.len()),
                    (host.text(), 0),
                    "{pool}"
                );
            }
        }
    }
}

#[test]
fn the_journal_knows_an_absent_value_from_a_given_one() {
    let before = |pool: &str| take_out(&host(), pool).unwrap().before;
    let given = Before {
        pool: "MSExchangeOWAAppPool".into(),
        auto_start: Some("true".into()),
        start_mode: Some("AlwaysRunning".into()),
    };
    assert_eq!(before("MSExchangeOWAAppPool"), given);
    let absent = Before { pool: "DefaultAppPool".into(), auto_start: None, start_mode: None };
    assert_eq!(before("DefaultAppPool"), absent);
}

#[test]
fn whom_a_shared_pool_stops_is_named() {
    let owa = take_out(&host(), "MSExchangeOWAAppPool").unwrap();
    assert_eq!(
        owa.also_stops("default web site/OWA").unwrap(),
        "this also stops Exchange Back End and Exchange Back End/owa"
    );
    assert_eq!(
        owa.also_stops("").unwrap(),
        "this also stops Default Web Site/owa, Exchange Back End and Exchange Back End/owa"
    );
    let ecp = take_out(&host(), "MSExchangeECPAppPool").unwrap();
    assert_eq!(ecp.also_stops("Default Web Site/ecp"), None);
}

#[test]
fn a_pool_that_is_out_already_is_not_changed_and_not_started_afterwards() {
    let host = parsed(&host().text().replace(
        "<add name=\"MSExchangeECPAppPool\"",
        "<add name=\"MSExchangeECPAppPool\" autoStart=\"FALSE\" startMode=\"OnDemand\"",
    ));
    let plan = take_out(&host, "MSExchangeECPAppPool").unwrap();
    assert_eq!(plan.edits, []);
    let back = put_back(&host, &plan.before).unwrap();
    assert_eq!((back.edits.len(), back.foreign.len(), back.starts), (0, 0, false));
}

#[test]
fn a_setting_that_another_hand_has_changed_stays_and_is_named() {
    let plan = take_out(&host(), "MSExchangeOWAAppPool").unwrap();
    let out = host().with(&plan.edits).unwrap();

    let changed = parsed(&out.text().replace("startMode='OnDemand'", "startMode='Never'"));
    let back = put_back(&changed, &plan.before).unwrap();
    assert_eq!(back.foreign.len(), 1);
    assert_eq!(
        back.foreign[0].to_string(),
        "application pool MSExchangeOWAAppPool: startMode was set to OnDemand and is Never now; it stays"
    );
    let after = changed.with(&back.edits).unwrap();
    assert!(
        line(&after, "MSExchangeOWAAppPool").contains("autoStart=\"true\""),
        "the other setting goes back"
    );
    assert!(line(&after, "MSExchangeOWAAppPool").contains("startMode='Never'"));

    let gone = parsed(&out.text().replace(" startMode='OnDemand'", ""));
    let back = put_back(&gone, &plan.before).unwrap();
    assert!(back.foreign[0].to_string().ends_with("has been taken out since; it stays so"), "{back:?}");

    // By hand already what it was: nothing to do and nothing to tell.
    assert_eq!(put_back(&host(), &plan.before).unwrap().foreign, []);
}

#[test]
fn a_pool_that_is_gone_has_nothing_to_be_put_back() {
    let before = Before { pool: "Gone".into(), auto_start: None, start_mode: None };
    let back = put_back(&host(), &before).unwrap();
    assert_eq!((back.edits.len(), back.foreign.len(), back.starts), (0, 0, false));
}

#[test]
fn what_cannot_be_edited_is_refused_with_the_reason() {
    let words = |text: &str, pool: &str| take_out(&parsed(text), pool).unwrap_err().to_string();
    assert_eq!(
        take_out(&host(), "OWA").unwrap_err().to_string(),
        "there is no application pool \"OWA\"; there are: DefaultAppPool, MSExchangeOWAAppPool, MSExchangeECPAppPool"
    );
    assert!(words("<configuration/>", "A").contains("no system.applicationHost/applicationPools"));
    let list = |inside: &str| {
        format!("<configuration><system.applicationHost>{inside}</system.applicationHost></configuration>")
    };
    assert!(
        words(&list("<applicationPools configSource=\"pools.config\"/>"), "A").contains("\"pools.config\"")
    );
    let twice = parsed(&list("<applicationPools><add name=\"A\"/><add name=\"a\"/></applicationPools>"));
    assert_eq!(take_out(&twice, "A"), Err(PoolError::Twice("A".into())));
    let before = Before { pool: "A".into(), auto_start: None, start_mode: None };
    assert_eq!(put_back(&twice, &before), Err(PoolError::Twice("A".into())));
}

#[test]
fn every_pool_of_a_real_server_goes_out_and_comes_back_to_the_byte() {
    let Some(samples) = common::corpus("every_pool_of_a_real_server_goes_out_and_comes_back_to_the_byte")
    else {
        return;
    };
    let bytes = std::fs::read(samples.join("applicationHost.config")).unwrap();
    let host = Document::parse(&bytes).unwrap();
    let all = pools(&host).unwrap();
    assert!(all.len() > 10);
    for pool in &all {
        let plan = take_out(&host, &pool.name).unwrap();
        let out = host.with(&plan.edits).unwrap();
        let back = put_back(&out, &plan.before).unwrap();
        assert!(back.foreign.is_empty());
        assert_eq!(out.with(&back.edits).unwrap().to_bytes(), bytes, "{}", pool.name);
    }
    let ecp = take_out(&host, "MSExchangeECPAppPool").unwrap();
    assert_eq!(ecp.applications, ["Default Web Site/ecp", "Exchange Back End/ecp"]);
    assert_eq!(ecp.also_stops("Default Web Site/ecp").unwrap(), "this also stops Exchange Back End/ecp");
}

#[test]
fn appcmd_is_asked_without_a_shell_and_no_name_becomes_two_arguments() {
    let list = |command| arguments(command, "MSExchange ECP").unwrap();
    assert_eq!(list(Command::Stop), ["stop", "apppool", "/apppool.name:MSExchange ECP"]);
    assert_eq!(list(Command::Start), ["start", "apppool", "/apppool.name:MSExchange ECP"]);
    assert_eq!(list(Command::Recycle), ["recycle", "apppool", "/apppool.name:MSExchange ECP"]);
    assert_eq!(list(Command::State), ["list", "apppool", "MSExchange ECP", "/text:state"]);
    for name in ["", "/text:x", "a\" /x", "a|b", "a\nb", "a&b", &"x".repeat(257)] {
        assert!(arguments(Command::Stop, name).is_err(), "{name:?}");
    }
}

#[test]
fn appcmds_answers_are_a_state_or_a_reason() {
    for (answer, expected) in [
        ("Started\r\n", State::Started),
        ("Starting", State::Starting),
        ("Stopped\r\n", State::Stopped),
        ("Stopping", State::Stopping),
        ("Unknown", State::Unknown),
    ] {
        assert_eq!(state(answer), Ok(expected));
    }
    assert_eq!(state("\r\n"), Err(AnswerError::NoPool));
    let denied =
        state("ERROR ( hresult:80070005, message:Command execution failed.\r\nAccess is denied. )\r\n");
    let denied = denied.unwrap_err().to_string();
    assert_eq!(denied, "appcmd: Command execution failed.\r\nAccess is denied. (0x80070005)");
    let missing = "ERROR ( message:Cannot find APPPOOL object with identifier \"X\". )";
    assert_eq!(
        refusal(missing).unwrap().to_string(),
        "appcmd: Cannot find APPPOOL object with identifier \"X\"."
    );
    assert_eq!(refusal("\"X\" successfully stopped"), None);
    assert_eq!(state("Running"), Err(AnswerError::Unreadable("Running".into())));
}
