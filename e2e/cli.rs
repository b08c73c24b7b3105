//! The command line as scripts rely on it: what stands in the JSON, and the exit codes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{Gateway, Origin, Publisher, ROOT, Ran, Seen, VULNERABLE, World, ask, stopgap, text};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

/// A trust file for Microsoft's feed; every line can be replaced.
const MICROSOFT: [(&str, &str); 6] = [
    ("roots", "[\"microsoft-root-ca-2011.pem\"]"),
    ("issuers", "[\"Microsoft Code Signing PCA 2011\"]"),
    ("eku", "[\"1.3.6.1.4.1.311.76.57.1.11\"]"),
    ("timestamp_roots", "[\"microsoft-time-stamp-pca-2010.pem\"]"),
    ("revocation", "\"off\""),
    ("freshness", "\"absent\""),
];

/// The folder with Microsoft's document; `None`, said aloud, where there is no corpus.
pub fn microsoft(test: &str) -> Option<PathBuf> {
    let corpus = std::env::var_os("STOPGAP_CORPUS")
        .map_or_else(|| Path::new(ROOT).join("../shared/corpus"), PathBuf::from);
    let folder = corpus.join("ms-feed");
    if !folder.is_dir() {
        println!("skipped (corpus absent): {test}");
        return None;
    }
    Some(folder)
}

/// `feed verify` of a document with that trust, one line of it replaced.
fn verify(world: &World, folder: &Path, document: &Path, changed: (&str, &str), rest: &[&str]) -> Ran {
    let mut trust = String::new();
    for (key, value) in MICROSOFT {
        let value = if key == changed.0 { changed.1 } else { value };
        trust.push_str(&format!("{key} = {value}\n"));
    }
    let trust = trust.replace("[\"microsoft-", &format!("[\"{}/microsoft-", folder.display()));
    world.write("trust.toml", &trust);
    let trust = world.path("trust.toml");
    stopgap(&[&["feed", "verify", text(document), "--trust", text(&trust), "--json"], rest].concat())
}

#[test]
fn microsofts_document_is_trusted_at_the_time_of_its_timestamp() {
    let Some(folder) = microsoft("feed verify") else { return };
    let (world, same) = (World::new(), ("", ""));
    let document = folder.join("getexchangemitigations-2021-09-29.xml");
    let ran = verify(&world, &folder, &document, same, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let mut found = ran.json();
    let signer = found["signer"].take();
    assert!(signer.as_str().unwrap().starts_with("CN=Microsoft Exchange XML Signing"), "{signer}");
    assert_eq!(
        found,
        json!({
            "trusted": true, "version": "1.0.4", "feed": null, "serial": null, "signer": null,
            "judged_at": "2021-09-15T16:42:08Z", "mitigations": ["PING1"],
        })
    );
    let at = ["--at", "2030-01-01T00:00:00Z"];
    assert_eq!(verify(&world, &folder, &document, same, &at).code, 0, "the timestamp wins over --at");
}

#[test]
fn what_is_not_quite_microsofts_is_refused_with_both_sides_named() {
    let Some(folder) = microsoft("feed verify, refused") else { return };
    let world = World::new();
    let document = folder.join("getexchangemitigations-2021-09-29.xml");
    let altered = world.path("altered.xml");
    fs::write(&altered, fs::read_to_string(&document).unwrap().replacen("Heartbeat", "heartbeat", 1))
        .unwrap();
    let publisher = world.publisher();
    let other_root = format!("[{:?}]", text(&publisher.folder.join("root.pem")));
    let none = ("", "");
    for (path, changed, error, words) in [
        (&altered, none, "digest-mismatch", ["expected", "found"]),
        (&document, ("roots", other_root.as_str()), "unknown-root", ["Microsoft", "found"]),
        (&document, ("eku", "[\"1.2.3.4\"]"), "wrong-eku", ["1.2.3.4", "1.3.6.1.4.1.311.76.57.1.11"]),
        (
            &document,
            ("issuers", "[\"Somebody\"]"),
            "wrong-issuer",
            ["Somebody", "Microsoft Code Signing PCA 2011"],
        ),
        (&document, ("timestamp_roots", "[]"), "expired-certificate", ["2022", "valid"]),
    ] {
        let ran = verify(&world, &folder, path, changed, &[]);
        assert_eq!(ran.code, 4, "{changed:?}: {ran:#?}");
        let found = ran.json();
        assert_eq!((&found["trusted"], &found["error"]), (&json!(false), &json!(error)), "{found}");
        let message = found["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{error}: {message}");
    }
}

#[test]
fn rules_are_tried_and_translated() {
    let world = World::new();
    let m1 = fs::read_to_string(Path::new(ROOT).join("mitigations/M1/mitigation.xml")).unwrap();
    let (start, end) = (m1.find("<rewrite>").unwrap(), m1.find("</rewrite>").unwrap() + "</rewrite>".len());
    world.write("m1.xml", &m1[start..end]);
    world.write("attack.http", &format!("GET {ATTACK} HTTP/1.1\nHost: mail.example.org\n\n"));
    world.write("benign.http", "GET /autodiscover/autodiscover.xml HTTP/1.1\nHost: mail.example.org\n\n");
    let (rules, path) = (world.path("m1.xml"), |name: &str| world.path(name));
    let test = |request: &str| {
        let request = path(request);
        stopgap(&["rules", "test", text(&rules), "--request", text(&request), "--json"]).json()
    };
    let verdict = |action: &str, rule: Value| json!({"action": action, "rule": rule, "status": null, "substatus": null, "url": null, "headers": {}});
    assert_eq!(test("attack.http"), verdict("AbortRequest", "PowerShell - inbound".into()));
    assert_eq!(test("benign.http"), verdict("None", Value::Null));
    let translated = stopgap(&["rules", "translate", text(&rules), "--to", "nginx"]);
    assert_eq!(translated.code, 0, "{translated:#?}");
    assert!(translated.stdout.contains("return 444"), "{}", translated.stdout);

    world.write(
        "inexact.xml",
        r#"<rewrite><rules><rule name="file"><match url=".*"/><conditions>
           <add input="{REQUEST_FILENAME}" matchType="IsFile"/></conditions>
           <action type="AbortRequest"/></rule></rules></rewrite>"#,
    );
    let inexact = path("inexact.xml");
    let refused = stopgap(&["rules", "translate", text(&inexact), "--to", "nginx"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (6, ""), "{refused:#?}");
    assert!(
        refused.stderr.contains("no exact form on nginx") && refused.stderr.contains("cause:"),
        "{refused:#?}"
    );
    for (server, form) in
        [("apache", "nokeepalive"), ("haproxy", "http-request reject"), ("iis", "type=\"AbortRequest\"")]
    {
        let translated = stopgap(&["rules", "translate", text(&rules), "--to", server]);
        assert_eq!(translated.code, 0, "{translated:#?}");
        assert!(translated.stdout.contains(form), "{server}: {}", translated.stdout);
    }
    assert_eq!(stopgap(&["rules", "translate", text(&rules), "--to", "lighttpd"]).code, 2);
    world.write("broken.xml", "<rewrite><rules><rule name=\"x\"><match url=\"(\"/></rule></rules></rewrite>");
    assert_eq!(stopgap(&["rules", "check", text(&path("broken.xml"))]).code, 6);
    assert_eq!(stopgap(&["rules", "check", text(&rules)]).code, 0);
}

#[test]
fn a_publishers_day_from_an_empty_folder_to_a_trusted_document() {
    let world = World::new();
    let publisher = world.publisher();
    let folder = text(&publisher.folder).to_owned();
    let new = stopgap(&["feed", "new", "M7", &folder, "--desc", "Something"]);
    assert_eq!(new.code, 0, "{new:#?}");
    publisher.publish();
    fs::write(publisher.mitigation("M7").join("mitigation.xml"), "<Config id=\"M7\"").unwrap();
    assert_ne!(stopgap(&["feed", "publish", &folder]).code, 0, "half a mitigation is not released");
    fs::remove_dir_all(publisher.mitigation("M7")).unwrap();
    publisher.add("M1");
    for verb in ["lint", "prove"] {
        let ran = stopgap(&["feed", verb, &folder, "--json"]);
        assert_eq!(ran.code, 0, "{verb}: {ran:#?}");
        ran.json();
    }
    fs::write(publisher.mitigation("M1").join("benign.http"), format!("GET {ATTACK} HTTP/1.1\nHost: a\n\n"))
        .unwrap();
    for verb in ["prove", "publish"] {
        let ran = stopgap(&["feed", verb, &folder]);
        assert_eq!(ran.code, 6, "a legitimate request is refused: {ran:#?}");
    }
    publisher.add("M1");
    publisher.publish();
    let (feed, trust) = (publisher.feed(), publisher.trust());
    let ran = stopgap(&["feed", "verify", text(&feed), "--trust", text(&trust), "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let found = ran.json();
    assert_eq!((&found["feed"], &found["mitigations"]), (&json!("example"), &json!(["M1"])));
    let later = stopgap(&[
        "feed",
        "verify",
        text(&feed),
        "--trust",
        text(&trust),
        "--at",
        "2046-01-01T00:00:00Z",
        "--json",
    ]);
    assert_eq!(later.code, 4, "{later:#?}");
    resign(&world, &publisher);
}

/// `feed sign` with the publisher's own key gives a document that its subscribers trust.
fn resign(world: &World, publisher: &Publisher) {
    let signed = fs::read_to_string(publisher.feed()).unwrap();
    let (start, end) = (signed.find("<Signature").unwrap(), signed.find("</Signature>").unwrap());
    world.write("unsigned.xml", &(signed[..start].to_owned() + &signed[end + "</Signature>".len()..]));
    let (unsigned, out) = (world.path("unsigned.xml"), world.path("signed.xml"));
    let (key, chain) = (publisher.folder.join("signing.key.pem"), publisher.folder.join("chain.pem"));
    let ran = stopgap(&[
        "feed",
        "sign",
        text(&unsigned),
        "--key",
        text(&key),
        "--chain",
        text(&chain),
        "--out",
        text(&out),
    ]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let trust = publisher.trust();
    assert_eq!(stopgap(&["feed", "verify", text(&out), "--trust", text(&trust)]).code, 0);
    assert_eq!(stopgap(&["feed", "verify", text(&unsigned), "--trust", text(&trust)]).code, 4);
}

/// A server with M1 and PL1 in force on a gateway.
fn server() -> (World, Publisher, Gateway) {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.add("PL1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&(publisher.table() + &gateway.target()));
    world.exchange(VULNERABLE);
    (world, publisher, gateway)
}

#[test]
fn the_operators_word_and_what_is_printed_of_it() {
    let (world, _publisher, gateway) = server();
    let early = world.stopgap(&["block", "M9"]);
    assert_eq!(early.code, 0, "nobody was asked, so nobody is untrusted: {early:#?}");
    world.ok(&["unblock", "M9"]);
    assert_eq!(world.stopgap(&["plan", "--check"]).code, 3, "changes are pending");
    world.ok(&["apply"]);
    assert_eq!(world.stopgap(&["plan", "--check"]).code, 0);
    assert_eq!(world.stopgap(&["status", "--check"]).code, 0);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);

    let blocked = world.ok(&["block", "M1", "--for", "4h", "--reason", "a test"]);
    assert!(blocked.stderr.contains("Server1 only"), "{blocked:#?}");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "blocking does not take off");
    assert_eq!(
        world.ok(&["server", "get", "--local"]).stdout,
        "Name                : Server1\n\
         MitigationsEnabled  : True\n\
         MitigationsApplied  : {M1, PL1}\n\
         MitigationsBlocked  : {M1}\n"
    );
    let reason = world.mitigation("M1")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("a test"), "{reason}");

    world.ok(&["revert", "M1"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
    world.ok(&[
        "server",
        "set",
        "--local",
        "--mitigations-blocked",
        "-M1,+PL1.1",
        "--mitigations-enabled",
        "false",
    ]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200), "off: nothing new");
    assert_eq!(
        world.ok(&["server", "get", "--local"]).stdout,
        "Name                : Server1\n\
         MitigationsEnabled  : False\n\
         MitigationsApplied  : {PL1}\n\
         MitigationsBlocked  : {PL1.1}\n"
    );
    world.ok(&["server", "set", "--local", "--mitigations-blocked", "", "--mitigations-enabled", "true"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    let missing = world.stopgap(&["unblock", "M1"]);
    assert_eq!(missing.code, 1, "{missing:#?}");
    assert!(missing.stderr.contains("hint:"), "{missing:#?}");
}

#[test]
fn one_mitigation_explained_and_all_of_them_listed() {
    let (world, _publisher, _gateway) = server();
    world.ok(&["apply"]);
    let explained = world.ok(&["explain", "example:M1"]).stdout;
    for words in [
        "example:M1  CVE-2022-41040",
        "Verdict     Applies",
        "in force, Proven",
        "blocked: GET /autodiscover",
    ] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
    assert_eq!(world.json(0, &["explain", "M1"])["in_force"], true);
    assert_eq!(world.stopgap(&["explain", "M9"]).code, 1);
    let history = world.json(0, &["history"]);
    let events: Vec<&str> =
        history.as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "done"]);

    let csv = world.path("mitigations.csv");
    world.ok(&["get-mitigations", "--export-csv", text(&csv)]);
    let csv = fs::read_to_string(csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("Server,ID,Type,Description,Status"));
    let m1 = lines.next().unwrap();
    assert!(m1.starts_with("Server1,M1,UrlRewrite,") && m1.ends_with(",Applied"), "{m1}");
    assert_eq!(lines.count(), 1);
    assert_eq!(world.stopgap(&["get-mitigations", "--identity", "Server2"]).code, 2);
}

#[test]
fn the_operators_word_counts_whatever_became_of_the_feed() {
    let (world, publisher, gateway) = server();
    world.ok(&["apply"]);
    fs::remove_file(publisher.feed()).unwrap();
    assert_eq!(world.stopgap(&["apply"]).code, 1, "the last good document still counts");
    fs::rename(publisher.trust(), world.path("aside.toml")).unwrap();
    assert_eq!(world.stopgap(&["apply"]).code, 4);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    world.ok(&["revert", "M1"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
}

#[test]
fn usage_errors_are_told_apart_from_failures() {
    let world = World::new();
    for args in [&["no-such-command"][..], &["block"], &["block", "M 1"], &["apply", "--frobnicate"]] {
        assert_eq!(world.stopgap(args).code, 2, "{args:?}");
    }
    let missing = world.stopgap(&["status"]);
    assert_eq!(missing.code, 1, "no configuration: {missing:#?}");
    assert!(missing.stderr.contains("error:") && missing.stderr.contains("hint:"), "{missing:#?}");
    world.config("nonsense = true\n");
    let nonsense = world.stopgap(&["status"]);
    assert_eq!(nonsense.code, 1);
    assert!(nonsense.stderr.contains("nonsense"), "{nonsense:#?}");
}

#[test]
fn every_command_has_help() {
    let mut waiting = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let args: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = stopgap(&args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
        assert!(ran.stdout.contains("Usage: stopgap"), "{args:?}: {}", ran.stdout);
        seen += 1;
        let below = ran.stdout.split_once("\nCommands:\n").map_or("", |(_, below)| below);
        let names = below.lines().take_while(|line| line.starts_with("  "));
        for name in names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
            if !name.is_empty() && name != "help" {
                waiting.push(command.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
    }
    assert!(seen > 25, "{seen} commands");
}
