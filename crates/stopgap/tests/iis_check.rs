//! `stopgap iis check`, as scripts rely on it: what stands in the JSON, and the exit codes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const HOST: &str = r#"<configuration>
  <configSections><sectionGroup name="system.webServer"><sectionGroup name="rewrite">
    <section name="rules" overrideModeDefault="Allow" />
  </sectionGroup></sectionGroup></configSections>
  <system.applicationHost><sites>
    <site name="Default Web Site" id="1">
      <application path="/"><virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" /></application>
      <application path="/owa"><virtualDirectory path="/" physicalPath="c:\Exchange\OWA" /></application>
      <application path="/owa/Calendar"><virtualDirectory path="/" physicalPath="C:\exchange\owa" /></application>
      <application path="/far"><virtualDirectory path="/" physicalPath="D:\far" /></application>
    </site>
  </sites></system.applicationHost>
</configuration>
"#;
const RULES: &str = "<configuration><system.webServer><rewrite><rules>\r\n<rule name=\"Mine\"><match url=\".\" />\
    <action type=\"None\" /></rule>\r\n</rules></rewrite></system.webServer></configuration>";

fn put(drive: &Path, path: &str, text: &str) {
    let path = drive.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn check(drive: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stopgap"));
    command.args(["iis", "check"]).arg(drive).args(more).output().unwrap()
}

fn answer(drive: &Path) -> (Option<i32>, Value) {
    let ran = check(drive, &["--json"]);
    (ran.status.code(), serde_json::from_slice(&ran.stdout).unwrap())
}

#[test]
fn names_are_found_in_any_case_and_a_violation_is_exit_6() {
    let drive = tempfile::tempdir().unwrap();
    let drive = drive.path();
    put(drive, "windows/System32/inetsrv/Config/applicationhost.config", HOST);
    put(drive, "inetpub/wwwroot/Web.config", RULES);
    let (code, found) = answer(drive);
    assert_eq!(code, Some(0), "{found}");
    let rule = json!({
        "name": "Mine", "enabled": true, "file": r"C:\inetpub\wwwroot\web.config", "line": 2, "level": "Default Web Site",
    });
    let paths: Vec<_> =
        found["applications"].as_array().unwrap().iter().map(|level| &level["path"]).collect();
    assert_eq!(
        paths,
        ["Default Web Site", "Default Web Site/owa", "Default Web Site/owa/Calendar", "Default Web Site/far"]
    );
    for application in found["applications"].as_array().unwrap() {
        assert_eq!(application["rules"], json!([rule]));
        assert_eq!(application["outbound"], json!([]));
    }
    assert_eq!(found["violations"], json!([]));
    assert!(found["notes"][0].as_str().unwrap().contains("drive D:"), "{found}");

    put(drive, "Exchange/owa/web.config", &RULES.replace("Mine", "Other"));
    let (code, found) = answer(drive);
    assert_eq!(code, Some(6));
    let violation = &found["violations"][0];
    assert_eq!(found["violations"].as_array().unwrap().len(), 1, "{found}");
    for (field, value) in [
        ("code", json!("duplicate-key")),
        ("application", json!("Default Web Site/owa/Calendar")),
        ("file", json!(r"c:\Exchange\OWA\web.config")),
        ("line", json!(2)),
        ("status", json!("500.19")),
        ("key", json!("Other")),
    ] {
        assert_eq!(violation[field], value, "{field}");
    }
    let broken =
        found["applications"].as_array().unwrap().iter().map(|level| level["broken"].as_bool().unwrap());
    assert_eq!(broken.collect::<Vec<_>>(), [false, false, true, false]);
    let ran = check(drive, &[]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(6));
    assert!(text.contains("Default Web Site/owa/Calendar: 500.19 (duplicate-key)"), "{text}");
    assert!(String::from_utf8(ran.stderr).unwrap().contains("modeled, not run on IIS"));
}

#[test]
fn a_folder_that_is_no_server_is_a_failure_with_a_hint() {
    let drive = tempfile::tempdir().unwrap();
    let ran = check(drive.path(), &[]);
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(told.contains("applicationHost.config") && told.contains("hint: "), "{told}");
}
