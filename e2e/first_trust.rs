//! First trust on a server: from a publisher's card to a mitigation in force, what is refused on the way, and
//! the end of it.

mod carry;
mod connectivity;
mod download;
mod lists;
mod tls;
mod two_persons;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stopgap_feed::card::fingerprint;

use crate::world::{
    ATTACK, Gateway, Origin, Publisher, Ran, STOPGAP, Seen, VULNERABLE, World, ask, run, text, wait_until,
};

/// A server with a gateway and no feed, and a publisher with M1.
struct Scene {
    world: World,
    publisher: Publisher,
    gateway: Gateway,
}

fn scene() -> Scene {
    let world = World::new();
    let publisher = world.publisher();
    publisher.write_m1(3);
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&gateway.target());
    world.exchange(VULNERABLE);
    Scene { world, publisher, gateway }
}

/// A card as its owner hands it over, and its fingerprint as they read it out.
struct Card {
    path: PathBuf,
    fingerprint: String,
}

impl Scene {
    /// The publisher's card with the feed at its file, and some words of it exchanged.
    fn card(&self, changes: &[(&str, &str)]) -> Card {
        self.card_at(&format!("file://{}", self.publisher.feed().display()), changes)
    }

    fn card_at(&self, url: &str, changes: &[(&str, &str)]) -> Card {
        let mut card = fs::read_to_string(self.publisher.folder.join("card.toml")).unwrap();
        let line = card.lines().find(|line| line.starts_with("url = ")).unwrap().to_owned();
        card = card.replacen(&line, &format!("url = {url:?}"), 1);
        for (from, to) in changes {
            assert!(card.contains(from), "{from} is not in {card}");
            card = card.replace(from, to);
        }
        let path = self.world.path("card.toml");
        fs::write(&path, &card).unwrap();
        Card { path, fingerprint: fingerprint(&card) }
    }

    fn add(&self, card: &Card, rest: &[&str]) -> Ran {
        let args = ["feed", "add", text(&card.path), "--fingerprint", &card.fingerprint];
        self.world.stopgap(&[&args, rest].concat())
    }

    /// What is beside `stopgap.toml` for feeds.
    fn written(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.world.path("etc/feeds.d")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_card_with_its_fingerprint_is_all_that_a_server_needs() {
    let scene = scene();
    let card = scene.card(&[]);
    let ran = scene.add(&card, &["--yes"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let root = fs::read_to_string(scene.publisher.trust()).unwrap();
    let root = root.lines().find_map(|line| line.strip_prefix("# Root certificate, SHA-256: ")).unwrap();
    for words in [
        root,
        &card.fingerprint,
        "example Stopgap Feed Signing",
        "example Stopgap Feed CA",
        "UrlRewrite",
        "serial 1",
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
    }
    assert_eq!(scene.written(), ["example.toml", "example.trust.toml"]);
    let mode = |name: &str| fs::metadata(scene.world.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("etc/feeds.d"), 0o755);
    assert_eq!(mode("etc/feeds.d/example.toml"), 0o644);
    assert_eq!(mode("etc/feeds.d/example.trust.toml"), 0o644);

    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed);
    let again = scene.add(&card, &["--yes", "--json"]);
    assert_eq!((again.code, &again.json()["added"]), (0, &json!(false)), "{again:#?}");
    let trust = scene.world.json(0, &["feed", "trust", "example"]);
    assert_eq!(trust["roots"][0]["sha256"], root);
    assert_eq!((&trust["signatures"], &trust["timestamp_roots"]), (&json!(1), &json!([])));
    let readable = scene.world.ok(&["feed", "trust", "example"]).stdout;
    assert!(readable.contains(root) && readable.contains("valid 20"), "{readable}");
}

#[test]
fn a_service_that_runs_follows_a_new_feed_at_once() {
    let scene = scene();
    let _agent = scene.world.agent();
    let logs = scene.world.path("logs");
    wait_until("the service runs", || logs.read_dir().is_ok_and(|mut logs| logs.next().is_some()));
    assert_eq!(scene.add(&scene.card(&[]), &["--yes"]).code, 0);
    // The next timer is an hour away.
    wait_until("the attack is refused", || ask(scene.gateway.address, ATTACK) == Seen::Closed);
}

#[test]
fn whose_card_it_is_nobody_guesses() {
    let scene = scene();
    let card = scene.card(&[]);
    let path = text(&card.path);
    let nobody = scene.world.stopgap(&["feed", "add", path, "--yes"]);
    assert_eq!(nobody.code, 4, "{nobody:#?}");
    assert!(nobody.stderr.contains("on another way") && nobody.stderr.contains("sha256sum"), "{nobody:#?}");
    let other = "0".repeat(64);
    let wrong = scene.world.stopgap(&["feed", "add", path, "--yes", "--fingerprint", &other]);
    assert_eq!(wrong.code, 4, "{wrong:#?}");
    assert!(wrong.stderr.contains(&other) && wrong.stderr.contains(&card.fingerprint), "{wrong:#?}");
    let wrong = scene.world.json(4, &["feed", "add", path, "--yes", "--fingerprint", &other]);
    assert_eq!((&wrong["added"], &wrong["error"]), (&json!(false), &json!("wrong-fingerprint")));
    let unasked = scene.add(&card, &[]);
    assert_eq!(unasked.code, 2, "nobody can be asked: {unasked:#?}");
    assert_eq!(scene.written(), [""; 0]);
    let spelled: String = card
        .fingerprint
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| format!("{}:", String::from_utf8_lossy(pair)))
        .collect();
    let ran =
        scene.world.stopgap(&["feed", "add", path, "--yes", "--fingerprint", spelled.trim_end_matches(':')]);
    assert_eq!(ran.code, 0, "upper case and colons are the same digits: {ran:#?}");
}

#[test]
fn a_feed_that_is_not_what_its_card_says_is_not_added() {
    let scene = scene();
    let document = fs::read_to_string(scene.publisher.feed()).unwrap();
    fs::write(scene.publisher.feed(), document.replacen("revision 4", "revision 5", 1)).unwrap();
    let altered = scene.add(&scene.card(&[]), &["--yes", "--json"]);
    assert_eq!((altered.code, &altered.json()["error"]), (4, &json!("digest-mismatch")), "{altered:#?}");
    fs::write(scene.publisher.feed(), document).unwrap();
    let another = scene.add(&scene.card(&[("name = \"example\"", "name = \"other\"")]), &["--yes", "--json"]);
    assert_eq!((another.code, &another.json()["error"]), (4, &json!("wrong-feed")), "{another:#?}");
    assert_eq!(scene.written(), [""; 0]);
}

#[test]
fn a_feed_that_cannot_be_had_yet_is_added_with_a_warning() {
    let scene = scene();
    let card = scene.card_at(&format!("file://{}", scene.world.path("not-yet.xml").display()), &[]);
    let ran = scene.add(&card, &["--yes"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("warning: the feed could not be looked at"), "{ran:#?}");
    let lines = scene.world.json(0, &["feed", "list"]);
    assert_eq!((&lines[0]["name"], &lines[0]["serial"]), (&json!("example"), &Value::Null));
}

#[test]
fn a_name_is_given_once() {
    let scene = scene();
    assert_eq!(scene.add(&scene.card(&[]), &["--yes"]).code, 0);
    let before = fs::read_to_string(scene.world.path("etc/feeds.d/example.toml")).unwrap();
    let other = scene.card(&[("[feed]", "# another edition\n[feed]")]);
    let ran = scene.add(&other, &["--yes"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("feed remove example"), "{ran:#?}");
    assert_eq!(fs::read_to_string(scene.world.path("etc/feeds.d/example.toml")).unwrap(), before);
    // One that configuration management wrote is not ours to remove.
    fs::remove_dir_all(scene.world.path("etc/feeds.d")).unwrap();
    scene.world.config(&(scene.publisher.table() + &scene.gateway.target()));
    assert_eq!(scene.add(&other, &["--yes"]).code, 1);
    let ran = scene.world.stopgap(&["feed", "remove", "example", "--keep"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("was not added by"), "{ran:#?}");
}

#[test]
fn a_new_feed_brings_rewrite_rules_and_more_only_where_the_operator_says_so() {
    let scene = scene();
    let asks = [(
        "allow = [\"DoNothing\", \"UrlRewrite\"]",
        "allow = [\"DoNothing\", \"UrlRewrite\", \"Service\", \"AppPool\"]",
    )];
    let card = scene.card(&asks);
    let ran = scene.add(&card, &["--yes"]);
    assert!(ran.stdout.contains("asks beyond       Service, AppPool"), "{ran:#?}");
    let allow = || scene.world.json(0, &["feed", "trust", "example"])["allow"].clone();
    assert_eq!(allow(), json!(["DoNothing", "UrlRewrite"]));
    scene.world.ok(&["feed", "remove", "example", "--keep"]);
    let ran = scene.add(&card, &["--yes", "--json", "--allow", "Service"]);
    assert_eq!((ran.code, &ran.json()["beyond"]), (0, &json!(["AppPool"])), "{ran:#?}");
    assert_eq!(allow(), json!(["DoNothing", "UrlRewrite", "Service"]));
    assert_eq!(scene.add(&card, &["--yes", "--allow", "Everything"]).code, 2);
}

#[test]
fn a_folder_that_others_can_write_to_says_whom_to_believe_to_nobody() {
    let scene = scene();
    let folder = scene.world.path("etc/feeds.d");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let ran = scene.add(&scene.card(&[]), &["--yes"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("mode 0777"), "{ran:#?}");
    assert_eq!(scene.written(), [""; 0]);
}

#[test]
fn what_an_interrupted_add_or_remove_left_is_no_feed() {
    let scene = scene();
    let card = scene.card(&[]);
    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    fs::remove_file(scene.world.path("etc/feeds.d/example.toml")).unwrap();
    let ran = scene.add(&scene.card(&[("[feed]", "# another edition\n[feed]")]), &["--yes"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    // A trust file that somebody else wrote is theirs.
    fs::remove_file(scene.world.path("etc/feeds.d/example.toml")).unwrap();
    scene.world.write("etc/feeds.d/example.trust.toml", "roots = []\n");
    let ran = scene.add(&scene.card(&[]), &["--yes"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("example.trust.toml"), "what stands there is named: {ran:#?}");
}

#[test]
fn a_card_that_is_no_file_is_not_waited_for() {
    let scene = scene();
    let pipe = scene.world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (endless, root) in [(text(&pipe), None), ("/dev/zero", None), ("card.toml", Some("/dev/zero"))] {
        let card = scene.card(&[]);
        let path = if root.is_some() { text(&card.path) } else { endless };
        let mut args = vec!["10", STOPGAP, "feed", "add", path, "--fingerprint", &card.fingerprint, "--yes"];
        args.extend(root.iter().flat_map(|root| ["--root", root]));
        let config = scene.world.path("etc/stopgap.toml");
        args.extend(["--config", text(&config)]);
        let mut command = Command::new("timeout");
        command.args(&args);
        let ran = run(command);
        assert_eq!(ran.code, 1, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains("expected a file"), "{args:?}: {ran:#?}");
    }
}

#[test]
fn on_a_terminal_a_person_decides() {
    if !Command::new("script").arg("--version").output().is_ok_and(|it| it.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no script");
        println!("skipped (no script): on_a_terminal_a_person_decides");
        return;
    }
    let scene = scene();
    let card = scene.card(&[]);
    let config = scene.world.path("etc/stopgap.toml");
    let command = format!(
        "{STOPGAP} feed add {} --fingerprint {} --config {}",
        text(&card.path),
        card.fingerprint,
        text(&config)
    );
    let answer = |answer: &str| {
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = terminal.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, shown) = answer("perhaps\nno\n");
    assert_eq!((code, scene.written().len()), (1, 0), "{shown}");
    assert_eq!(shown.matches("Shall this server believe this feed").count(), 2, "{shown}");
    let (code, shown) = answer("yes\n");
    assert_eq!((code, scene.written().len()), (0, 2), "{shown}");
}

#[test]
fn a_removed_feed_takes_off_what_it_brought_or_leaves_it() {
    let scene = scene();
    let card = scene.card(&[]);
    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    assert_eq!(scene.world.stopgap(&["feed", "remove", "example"]).code, 2, "keep or revert: nobody guesses");
    assert_eq!(scene.world.stopgap(&["feed", "remove", "exmaple", "--keep"]).code, 1);

    let kept = scene.world.ok(&["feed", "remove", "example", "--keep"]);
    assert!(kept.stderr.contains("`stopgap revert example:M1` takes it off"), "{kept:#?}");
    assert_eq!(scene.written(), [""; 0]);
    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed, "it stays, feed or not");
    assert_eq!(scene.world.mitigation("M1")["in_force"], true);

    // Added again it is first trust: the serial that was seen is forgotten.
    assert!(!scene.world.data().join("feeds/example.json").exists());
    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    let removed = scene.world.json(0, &["feed", "remove", "example", "--revert"]);
    assert_eq!(removed["reverted"], json!(["example:M1"]));
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200));
    let history = scene.world.json(0, &["history"]);
    let begun = history.as_array().unwrap().iter().filter(|line| line["event"] == "begin").count();
    assert_eq!(begun, 2, "put on and taken off, both through the journal");
    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200), "it does not come back");

    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed, "a feed that is added again starts anew");
}

#[test]
fn what_the_operator_blocked_stays_blocked_when_the_feed_comes_back() {
    let scene = scene();
    let card = scene.card(&[]);
    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    scene.world.ok(&["block", "example:M1", "--reason", "it disturbs us"]);
    scene.world.ok(&["feed", "remove", "example", "--revert"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200));
    assert_eq!(scene.add(&card, &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200));
    let reason = scene.world.mitigation("M1")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("it disturbs us"), "{reason}");
}

#[test]
fn what_cannot_be_taken_off_keeps_its_feed() {
    let scene = scene();
    assert_eq!(scene.add(&scene.card(&[]), &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    let world = &scene.world;
    // The target is gone from the configuration, and its rules are where they were.
    world.config("");
    let ran = world.stopgap(&["feed", "remove", "example", "--revert"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("example:M1 could not be taken off"), "{ran:#?}");
    assert_eq!(scene.written().len(), 2);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed);
    world.config(&scene.gateway.target());
    world.ok(&["feed", "remove", "example", "--revert"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200));
}

/// `feed verify` would say the same of the document; here it is the card that says whom to believe.
#[test]
fn microsofts_document_is_believed_by_the_card_that_ships() {
    let Some(corpus) = crate::cli::microsoft("the card that ships") else { return };
    let world = World::new();
    world.config("");
    let shipped = PathBuf::from(crate::world::ROOT).join("cards/microsoft-exchange.toml");
    let card = fs::read_to_string(&shipped).unwrap();
    let told = fs::read_to_string(shipped.with_file_name("README.md")).unwrap();
    assert!(
        told.contains(&fingerprint(&card)),
        "the fingerprint beside the card is not its own: {}",
        fingerprint(&card)
    );
    // The same card with the document of 2021 at hand instead of today's.
    let document = corpus.join("getexchangemitigations-2021-09-29.xml");
    let address = "https://officeclient.microsoft.com/getexchangemitigations";
    let card = card.replacen(address, &format!("file://{}", document.display()), 1);
    world.write("card.toml", &card);
    let (path, fingerprint) = (world.path("card.toml"), fingerprint(&card));
    let roots =
        ["microsoft-root-ca-2011.pem", "microsoft-time-stamp-pca-2010.pem"].map(|name| corpus.join(name));
    let args = ["feed", "add", text(&path), "--fingerprint", &fingerprint, "--yes"];
    let (root, stamp) = (["--root", text(&roots[0])], ["--root", text(&roots[1])]);
    let added = world.json(0, &[&args[..], &root, &stamp].concat());
    assert_eq!(added["document"]["trusted"], true, "{added:#}");
    assert_eq!(added["document"]["mitigations"], 1, "{added:#}");
    assert_eq!(added["trust"]["freshness"], "absent");
    let ran = run(world.command(&["apply"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    let released = world.json(0, &["feed", "list", "--released"]);
    assert_eq!((&released[0]["id"], &released[0]["lowest"]), (&json!("PING1"), &json!("all")));
    // The certificate of somebody else fills no root.
    let publisher = world.publisher();
    let foreign = publisher.folder.join("root.pem");
    world.ok(&["feed", "remove", "microsoft-exchange", "--revert"]);
    let card = card.replace("https://www.microsoft.com/pki/certs/", "https://127.0.0.1:1/");
    world.write("card.toml", &card);
    let fingerprint = stopgap_feed::card::fingerprint(&card);
    let args = ["feed", "add", text(&path), "--fingerprint", &fingerprint, "--yes", "--root", text(&foreign)];
    let ran = world.stopgap(&args);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("the root with SHA-256 847df6a78497"), "{ran:#?}");
}
