//! A publisher's years, with the binary alone: two persons, a recall, renewals, stolen and changed keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::world::{ATTACK, STOPGAP};
use crate::world::{Gateway, Origin, Publisher, Ran, Seen, VULNERABLE, World, ask, run, stopgap, text};

/// Runs `feed …`, which must succeed.
fn feed(arguments: &[&str]) -> Ran {
    let ran = stopgap(&[&["feed"], arguments].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:#?}");
    ran
}

/// Runs `feed …`, which must fail with this exit code and say this.
fn refused(code: i32, says: &str, arguments: &[&str]) {
    let ran = stopgap(&[&["feed"], arguments].concat());
    assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
    assert!(ran.stderr.contains(says), "{arguments:?}: {ran:#?}");
}

/// A file of its owner's alone.
fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `feed verify` finds at the feed's address.
fn verified(publisher: &Publisher, trust: &Path) -> Value {
    stopgap(&["feed", "verify", text(&publisher.feed()), "--trust", text(trust), "--json"]).json()
}

/// A vulnerable server that follows the feed by a trust file.
fn server(world: &World, publisher: &Publisher, trust: &Path) -> Gateway {
    let gateway = world.gateway(Origin::start().address);
    let url = format!("file://{}", publisher.feed().display());
    let table = format!("[[feed]]\nname = \"example\"\nurl = {url:?}\ntrust = {:?}\n", text(trust));
    world.config(&(table + &gateway.target()));
    world.exchange(VULNERABLE);
    gateway
}

#[test]
fn a_recall_and_a_renewal_are_one_command_each() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let gateway = server(&world, &publisher, &publisher.trust());
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);

    let dir = text(&publisher.folder);
    let renewed = feed(&["renew", dir, "--json"]).json();
    assert_eq!(renewed["serial"], 2);
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);

    refused(1, "expected a mitigation of this feed", &["withdraw", dir, "M7", "--reason", "x"]);
    refused(2, "--reason", &["withdraw", dir, "M1"]);
    feed(&["withdraw", dir, "M1", "--reason", "Superseded by the hotfix."]);
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
    refused(1, "withdrawn already", &["withdraw", dir, "M1", "--reason", "again"]);
}

#[test]
fn a_second_person_signs_what_the_first_one_released() {
    let world = World::new();
    let (publisher, second) = (world.publisher(), world.publisher_named("second"));
    publisher.add("M1");
    publisher.publish();
    let [key, chain] = ["signing.key.pem", "chain.pem"].map(|file| second.folder.join(file));
    let by_second = ["--key", text(&key), "--chain", text(&chain)];
    let (released, trust) = (publisher.feed(), publisher.trust());
    let cosign = |feed: &Path, trust: &Path| {
        stopgap(&[&["feed", "cosign", text(feed), "--trust", text(trust)], &by_second[..]].concat())
    };
    // Not what is not trusted, and not what was changed on its way.
    assert_eq!(cosign(&released, &second.trust()).code, 4);
    let changed = world.path("changed.xml");
    fs::write(&changed, fs::read_to_string(&released).unwrap().replace("autodiscover", "autodisc0ver"))
        .unwrap();
    assert_eq!(cosign(&changed, &trust).code, 4);
    // Nor with the key that released it: that would be one person.
    let [own_key, own_chain] = ["signing.key.pem", "chain.pem"].map(|file| publisher.folder.join(file));
    let own = ["--key", text(&own_key), "--chain", text(&own_chain)];
    let own = [&["cosign", text(&released), "--trust", text(&trust)], &own[..]].concat();
    refused(1, "another person's key", &own);

    let ran = cosign(&released, &trust);
    assert_eq!((ran.code, ran.stdout.trim()), (0, text(&beside(&released, 1))), "{ran:#?}");
    assert!(
        ran.stderr.contains("serial 1") && ran.stderr.contains("M1"),
        "what is signed is shown: {ran:#?}"
    );
    // The next release takes it away.
    feed(&["renew", text(&publisher.folder)]);
    assert!(!beside(&released, 1).exists());
}

fn beside(feed: &Path, number: usize) -> PathBuf {
    PathBuf::from(stopgap_feed::cosignature::beside(text(feed), number))
}

#[test]
fn protected_keys_are_opened_by_file_or_descriptor_and_by_nothing_else() {
    let world = World::new();
    let (dir, passphrase) = (world.path("example"), world.path("passphrase"));
    secret(&passphrase, "correct horse battery\n");
    let from_file = ["--passphrase-file", text(&passphrase)];
    let init = ["init", text(&dir), "--name", "example", "--protect-keys"];
    let short = world.path("short");
    secret(&short, "elevenchars\n");
    refused(2, "12 characters", &[&init[..], &["--passphrase-file", text(&short)]].concat());
    feed(&[&init[..], &from_file].concat());
    let key = fs::read_to_string(dir.join("signing.key.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    feed(&["new", "X1", text(&dir)]);
    // Nobody is there to ask.
    refused(1, "the private key cannot be read", &["publish", text(&dir)]);
    feed(&[&["publish", text(&dir)], &from_file[..]].concat());
    let shell = format!(
        "exec '{STOPGAP}' feed renew '{}' --passphrase-fd 3 3< <(cat '{}')",
        dir.display(),
        passphrase.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &shell]);
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:#?}");

    secret(&passphrase, "wrong horse battery\n");
    refused(1, "does not open this key", &[&["publish", text(&dir)], &from_file[..]].concat());
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o644)).unwrap();
    refused(1, "others can read this secret", &[&["publish", text(&dir)], &from_file[..]].concat());
}

#[test]
fn a_stolen_key_is_revoked_and_replaced_and_servers_go_on() {
    let world = World::new();
    let dir = world.path("example");
    let url = "https://feed.example.org/feed.xml";
    feed(&["init", text(&dir), "--name", "example", "--url", url]);
    let publisher = Publisher { folder: dir.clone(), name: "example".to_owned() };
    publisher.add("PING1");
    publisher.publish();
    let trust = publisher.trust();
    assert_eq!(verified(&publisher, &trust)["trusted"], true);
    let chain = dir.join("chain.pem");
    let revoked = feed(&["revoke", text(&dir), text(&chain), "--reason", "key-compromise", "--json"]);
    assert!(revoked.stderr.contains("still signs with it"), "{revoked:#?}");
    let list = revoked.json()["list"].as_str().unwrap().to_owned();
    // A subscriber who has the list refuses what the thief can sign.
    let strict = world.path("strict.toml");
    let with_list = fs::read_to_string(&trust).unwrap().replace("root.pem", text(&dir.join("root.pem")));
    let at = with_list.find("allow").unwrap();
    let with_list = format!("{}crls = [{list:?}]\n{}", &with_list[..at], &with_list[at..]);
    fs::write(&strict, with_list).unwrap();
    assert_eq!(verified(&publisher, &strict)["error"], "revoked-certificate");
    refused(1, "revoked", &["publish", text(&dir)]);
    feed(&["rotate", text(&dir), "--leaf"]);
    feed(&["renew", text(&dir)]);
    assert_eq!(verified(&publisher, &strict)["trusted"], true);
}

#[test]
fn who_has_the_old_card_follows_over_a_change_of_the_root() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    let dir = text(&publisher.folder);
    let chain = publisher.folder.join("chain.pem");
    let revoked = feed(&["revoke", dir, text(&chain)]).stderr;
    assert!(revoked.contains("names no list"), "nobody would hear of it: {revoked}");
    feed(&["rotate", dir, "--leaf"]);
    let before = world.path("before.toml");
    let root = world.path("before.pem");
    fs::copy(publisher.folder.join("root.pem"), &root).unwrap();
    let trust = fs::read_to_string(publisher.trust()).unwrap();
    fs::write(&before, trust.replace("\"root.pem\"", "\"before.pem\"")).unwrap();
    let gateway = server(&world, &publisher, &before);
    refused(2, "required", &["rotate", dir]);
    let rotated = feed(&["rotate", dir, "--root", "--json"]).json();
    publisher.publish();
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    let card = feed(&["card", dir, "--mirror", "https://mirror.example.org/feed.xml", "--json"]).json();
    assert_ne!(card["card_fingerprint"], rotated["card_fingerprint"], "it names a mirror now");
    let card = feed(&["card", dir, "--print"]).stdout;
    assert!(card.contains("https://mirror.example.org/feed.xml"), "{card}");
    let after = stopgap_feed::card::Card::parse(&card).unwrap();
    fs::write(world.path("after.toml"), after.trust_toml().unwrap()).unwrap();
    assert_eq!(verified(&publisher, &world.path("after.toml"))["trusted"], true);
}

#[test]
fn what_a_release_leaves_out_and_what_was_cut_off_is_told() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    let dir = text(&publisher.folder);
    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    feed(&["rotate", dir, "--root", "--until", &tomorrow]);
    let said = feed(&["publish", dir]).stderr;
    assert!(said.contains("the cross-certificate ends before the release"), "{said}");
    refused(1, "move cross.pem away", &["rotate", dir, "--root"]);

    let pending = publisher.folder.join("pending");
    fs::create_dir(&pending).unwrap();
    fs::write(pending.join(".note"), "lists").unwrap();
    let said = feed(&["card", dir]).stderr;
    assert!(said.contains("a command was cut off here"), "{said}");
    assert!(!pending.exists());
}

#[test]
fn a_server_tells_its_publisher_that_the_release_ends() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    // Away for a fortnight, and the release ends within it.
    let settings = publisher.folder.join("feed.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("on_call_gap_days = 4", "on_call_gap_days = 14")).unwrap();
    let mut server = Command::new(STOPGAP)
        .args(["feed", "serve", publisher.folder.to_str().unwrap(), "--listen", "127.0.0.1:0"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(server.stderr.take().unwrap()));
    let told = lines.map_while(Result::ok).take(4).any(|line| line.contains("the release ends at"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(told);
}

#[test]
fn a_release_is_signed_where_the_key_is() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no openssl");
        println!("skipped (no openssl): a_release_is_signed_where_the_key_is");
        return;
    }
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    let dir = text(&publisher.folder);
    let [key, octets, signature] = ["key.pem", "F.tosign", "F.sig"].map(|file| world.path(file));
    fs::rename(publisher.folder.join("signing.key.pem"), &key).unwrap();
    // A name without a folder, as one types it.
    let mut relative = Command::new(STOPGAP);
    relative.current_dir(octets.parent().unwrap()).args(["feed", "prepare", dir, "--out", "F.tosign"]);
    let ran = run(relative);
    assert!(ran.code == 0 && octets.exists(), "{ran:#?}");
    let said = feed(&["prepare", dir, "--out", text(&octets)]);
    let line = said.stderr.lines().find(|line| line.contains("openssl dgst")).unwrap();
    assert!(line.contains("-sha256") && line.contains(text(&octets)), "{line}");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign", text(&key), "-out", text(&signature), text(&octets)]);
    assert_eq!(run(openssl).code, 0);
    feed(&["assemble", dir, "--signature", text(&signature)]);
    assert_eq!(verified(&publisher, &publisher.trust())["serial"], 1);
    refused(1, "no release waits", &["assemble", dir, "--signature", text(&signature)]);
}
