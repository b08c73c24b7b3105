//! IIS: every mitigation that the project ships, put on and taken off to the byte, on a server of our own making and on a
//! real one's files; what others do to the same files; and every way in which a file cannot be written.
//!
//! Modeled, not run on IIS: what the server would answer is computed by `stopgap_iis`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(missing_docs, dead_code, reason = "modules of several tests")]

#[path = "iis/awkward.rs"]
mod awkward;
#[path = "../../stopgap-iis/tests/common/exchange.rs"]
mod exchange;
#[path = "iis/hostile.rs"]
mod hostile;
#[path = "iis/lost.rs"]
mod lost;
#[path = "iis/pools.rs"]
mod pools;
#[path = "iis/server.rs"]
mod server;

use std::process::Command;

use exchange::{HOST, OWA, ROOT};
use server::Server;
use stopgap_core::plan::{StepKind, Wanted};
use stopgap_drivers::{Driver, Host};

const POOLS: &str = r#"    <system.applicationHost>
        <applicationPools>
            <add name="DefaultAppPool" />
            <add name="MSExchangeECPAppPool" autoStart="true" startMode='AlwaysRunning' />
            <add name="MSExchangeOABAppPool" queueLength="10" />
        </applicationPools>
    </system.applicationHost>
"#;

const OWN: &str = "<configuration>\n  <system.webServer>\n    <rewrite>\n      <rules>\n        <rule name=\"own\">\n          \
    <match url=\"^old$\" />\n          <action type=\"Redirect\" url=\"/new\" />\n        </rule>\n      </rules>\n    \
    </rewrite>\n  </system.webServer>\n</configuration>\n";

/// Our own Exchange, with a rule of its administrator's in the folder that `owa` and three applications in it share.
fn synthetic(line_end: &str) -> Vec<(String, Vec<u8>)> {
    let files = [
        (HOST, exchange::host(POOLS)),
        (ROOT, "<configuration>\n</configuration>".into()),
        (OWA, OWN.into()),
    ];
    files.map(|(path, text)| (path.to_owned(), text.replace('\n', line_end).into_bytes())).into()
}

/// The corpus's server as a drive C:, by the tool that comes with it; nothing, said aloud, where it is absent.
fn corpus(test: &str, line_end: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = std::env::var_os("STOPGAP_CORPUS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        std::path::PathBuf::from,
    );
    if !folder.join("lay-out-exchange").is_file() {
        println!("skipped (corpus absent): {test}");
        return None;
    }
    let drive = tempfile::tempdir().unwrap();
    let laid_out = Command::new("python3")
        .arg(folder.join("lay-out-exchange"))
        .args([folder.join("iis-exchange2016").as_path(), drive.path()])
        .output();
    let laid_out = match laid_out {
        Ok(output) => output,
        Err(e) if std::env::var_os("CI").is_none() => {
            println!("skipped (no python3): {test}: {e}");
            return None;
        }
        Err(e) => panic!("{test} needs python3: {e}"),
    };
    assert!(laid_out.status.success(), "{}", String::from_utf8_lossy(&laid_out.stderr));
    let mut files = Vec::new();
    let mut folders = vec![drive.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(drive.path()).unwrap().to_string_lossy().replace('/', "\\");
            let octets = std::fs::read(&path).unwrap();
            let octets = match line_end {
                "\n" => octets,
                _ => String::from_utf8(octets).unwrap().replace('\n', line_end).into_bytes(),
            };
            files.push((format!("C:\\{name}"), octets));
        }
    }
    Some(files)
}

const RUNNING: [&str; 3] = ["DefaultAppPool", "MSExchangeECPAppPool", "MSExchangeOABAppPool"];

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Puts three on one after the other, and takes them off in the same order; the server is then as it was.
fn in_this_order(files: &[(String, Vec<u8>)], three: [&str; 3], order: [usize; 3]) {
    let server = Server::new(files, &RUNNING);
    let (before, faults) = (server.files(), server.violations());
    let all: Vec<Vec<Wanted>> =
        three.iter().map(|id| if *id == "G1" { server.global() } else { server.shipped(id) }).collect();
    let mut wanted: Vec<Wanted> = Vec::new();
    for nth in order {
        wanted.extend(all[nth].clone());
        server.bring(&wanted);
        assert_eq!(server.plan(&wanted), None, "{three:?} {order:?}: twice is once");
    }
    assert_eq!(server.violations(), faults, "{three:?} {order:?}: no fault is introduced");
    let observed = server.observe();
    assert_eq!(observed.live.holds.len(), wanted.len());
    let unknown: Vec<&String> =
        observed.warnings.iter().filter(|said| said.contains("by hand alone")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for nth in order {
        wanted.retain(|one| !all[nth].contains(one));
        server.bring(&wanted);
        let names = |one: &Wanted| format!("Stopgap example {} ", one.action.id);
        for gone in all[nth].iter().map(names) {
            assert!(!server.text(HOST).contains(&gone), "{three:?} {order:?}: {gone}");
        }
    }
    let after = server.files();
    let differs: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(differs.is_empty(), "{three:?} {order:?}: {differs:?}");
    assert!(server.pools.lock().unwrap().values().all(|runs| *runs));
}

const THREES: [[&str; 3]; 3] = [["M1", "M2", "PL1"], ["PL3", "PL4", "M2"], ["G1", "M1", "PL3"]];

#[test]
fn every_three_go_on_and_off_in_every_order_to_the_byte() {
    for line_end in ["\n", "\r\n"] {
        for three in THREES {
            for order in ORDERS {
                in_this_order(&synthetic(line_end), three, order);
            }
        }
    }
}

/// One order of a real server's takes a second with optimization, and many without: all of them only where
/// `STOPGAP_IIS_ALL` asks for it.
#[test]
fn a_real_server_gets_every_three() {
    let (first, rest): (&[_], &[_]) = match (std::env::var_os("STOPGAP_IIS_ALL"), cfg!(debug_assertions)) {
        (Some(_), _) => (&ORDERS, &ORDERS),
        (None, true) => (&ORDERS[4..5], &[]),
        (None, false) => (&ORDERS, &ORDERS[4..5]),
    };
    for line_end in ["\n", "\r\n"] {
        let Some(files) = corpus("a_real_server_gets_every_three", line_end) else { return };
        for (nth, three) in THREES.into_iter().enumerate() {
            let orders = if nth == 0 && line_end == "\n" { first } else { rest };
            for order in orders {
                in_this_order(&files, three, *order);
            }
        }
    }
}

#[test]
fn a_plan_says_exactly_what_is_written_and_what_each_application_has_then() {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    let change = server.plan(&[server.shipped("M1"), server.shipped("M2")].concat()).unwrap();
    let steps = change.steps();
    let of = |kind| steps.iter().filter(move |step| step.kind == kind);
    let edits: Vec<&str> = of(StepKind::Edit).map(|step| step.detail.as_str()).collect();
    assert!(
        edits.iter().any(|edit| edit.contains("\"Stopgap example M1.1 PowerShell - inbound\"")),
        "{edits:#?}"
    );
    let checks: Vec<&str> = of(StepKind::Check).map(|step| step.detail.as_str()).collect();
    for level in ["owa", "owa/Calendar", "owa/Integrated", "owa/oma"] {
        let said =
            checks.iter().find(|said| said.starts_with(&format!("rules at Default Web Site/{level}: ")));
        let said = said.unwrap_or_else(|| panic!("{level}: {checks:#?}"));
        assert!(
            said.contains("then: ") && said.contains("Stopgap example M2.1 OWA CSP - outbound"),
            "{said}"
        );
    }
    assert!(!checks.iter().any(|said| said.contains("Exchange Back End")), "{checks:#?}");
    // The octets of the journal are those that come to be there.
    let journal: stopgap_core::plan::Change =
        serde_json::from_str(&serde_json::to_string(&change).unwrap()).unwrap();
    let before = server.text(HOST);
    server.carry_out(&journal);
    assert!(!server.host.monotonic().is_zero(), "IIS has its time to notice before it is asked");
    let after = server.text(HOST);
    let put: usize = change.edits.iter().flat_map(|edit| &edit.splices).map(|s| s.put.0.len()).sum();
    assert_eq!(after.len(), before.len() + put, "only insertions");
    assert_eq!(server.effective("Default Web Site/owa/oma").len(), 3, "its administrator's, M1 and M2");
}

#[test]
fn a_revision_takes_the_place_of_the_one_before_it_in_one_write() {
    let server = Server::new(&synthetic("\r\n"), &RUNNING);
    let before = server.files();
    let old = server.shipped("M1");
    let path = format!("{}/../../mitigations/M1/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let new = server.wanted(&text.replace("(?=.*autodiscover)", "(?=.*autodiscover\\.json)"));
    server.bring(&[old, server.shipped("M2")].concat());
    let both = [new, server.shipped("M2")].concat();
    let change = server.bring(&both);
    assert_eq!((change.edits.len(), change.puts_on.len(), change.takes_off.len()), (1, 1, 0));
    let octets: usize =
        change.edits[0].splices.iter().map(|splice| splice.cut.0.len() + splice.put.0.len()).sum();
    assert!(octets < 2_000, "M2 stays as it is: {octets} octets");
    assert!(server.text(HOST).contains(r"autodiscover\.json"));
    server.bring(&[]);
    assert_eq!(server.files(), before);
}

#[test]
fn a_rule_that_another_service_put_there_is_not_put_there_twice_and_takes_over_when_that_goes() {
    let twin = r#"<rewrite><rules><rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true"><match url=".*" />
<conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" /></conditions>
<action type="AbortRequest" /></rule></rules></rewrite>"#;
    let mut files = synthetic("\n");
    let with = format!("<configuration>\n<system.webServer>\n{twin}\n</system.webServer>\n</configuration>");
    files[1].1 = with.into_bytes();
    let server = Server::new(&files, &[]);
    let m1 = server.shipped("M1");
    let change = server.plan(&m1).unwrap();
    assert_eq!(change.edits, [], "{:?}", change.notes);
    assert!(
        change.notes.iter().any(|note| note.contains("\"EEMS M1.1 PowerShell - inbound\"")),
        "{:?}",
        change.notes
    );
    server.carry_out(&change);
    let observed = server.observe();
    assert_eq!(observed.live.holds.len(), 1, "in force, by them");
    assert!(observed.warnings.iter().any(|said| said.contains("not ours")), "{:?}", observed.warnings);

    server.host.put(server::place(ROOT), "<configuration>\n</configuration>");
    assert_eq!(server.observe().live.holds, [], "in force means observed");
    let change = server.bring(&m1);
    assert_eq!((change.puts_on.len(), change.edits.len()), (1, 1));
    assert_eq!(server.effective("Default Web Site"), ["Stopgap example M1.1 PowerShell - inbound"]);
}

#[test]
fn microsofts_own_placing_of_m2_is_told_as_the_error_that_it_is_and_ours_does_not_make_it_worse() {
    let m2 = r#"<rewrite><outboundRules><preConditions><preCondition name="p"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" />
</preCondition></preConditions><rule name="EEMS M2.1 OWA CSP - outbound" preCondition="p">
<match serverVariable="RESPONSE_X" pattern="(.*)" /><action type="Rewrite" value="y" /></rule></outboundRules></rewrite>"#;
    let mut files = synthetic("\n");
    files[2].1 = format!("<configuration>\n<system.webServer>\n{m2}\n</system.webServer>\n</configuration>")
        .into_bytes();
    let server = Server::new(&files, &[]);
    let faults = server.violations();
    for nested in ["Calendar", "Integrated", "oma"] {
        let said = format!("Default Web Site/owa/{nested} answers with 500.19 (duplicate-key)");
        let observed = server.observe();
        assert!(
            observed.warnings.iter().any(|warning| warning.starts_with(&said)),
            "{:?}",
            observed.warnings
        );
    }
    server.bring(&server.shipped("M1"));
    assert_eq!(server.violations(), faults);
    let gaps: Vec<String> = server.observe().live.gaps.into_iter().map(|gap| gap.place).collect();
    assert_eq!(gaps, ["Calendar", "Integrated", "oma"].map(|one| format!("Default Web Site/owa/{one}")));
}

#[test]
fn sites_have_the_listeners_of_their_bindings_and_names_of_the_configuration() {
    let server = Server::new(&synthetic("\n"), &[]);
    let shown: Vec<(String, Vec<String>)> = server
        .observe()
        .sites
        .into_iter()
        .map(|site| (site.name, site.listeners.iter().map(|l| format!("{l} {}", l.host)).collect()))
        .collect();
    let front = ["http://127.0.0.1:80 mail.example.org", "https://127.0.0.1:443 mail.example.org"];
    assert_eq!(shown[0], ("Default Web Site".into(), front.map(str::to_owned).to_vec()));
    assert_eq!(shown[1], ("Exchange Back End".into(), vec!["https://127.0.0.1:444 127.0.0.1".into()]));

    let configured = [("Default Web Site".to_owned(), vec!["Exchange Back End".to_owned()])].into();
    let roles = stopgap_drivers::iis::roles(&server.host, "/c".as_ref(), &configured);
    assert_eq!(roles["Default Web Site/owa"], ["Exchange Back End"], "a site that plays another's part");
    assert_eq!(roles["Default Web Site/Public"], ["Exchange Back End"]);
    assert_eq!(roles["Exchange Back End/owa"], ["Exchange Back End"]);
    assert!(!roles.contains_key("Default Web Site/ecp"));
    let own = stopgap_drivers::iis::roles(&server.host, "/c".as_ref(), &Default::default());
    assert_eq!(own["Default Web Site/owa/Calendar"], ["Default Web Site"]);
    assert_eq!(server.driver.target(), "iis");
    let watched = stopgap_drivers::iis::watched(&server.host, "/c".as_ref());
    assert_eq!(watched, [OWA, HOST, ROOT].map(server::place));
}
