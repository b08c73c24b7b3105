//! A feed that two persons sign, with revocation lists: first trust by its card, and the walk with all that
//! belongs to a release.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::tls::{Authority, NAME};
use crate::world::{ATTACK, Gateway, Origin, Publisher, Ran, Seen, VULNERABLE, World, ask, stopgap, text};

/// A publisher whose folder is served over TLS, and whose feed needs the signature of `security` too.
fn publisher(world: &World, host: &Authority) -> (Publisher, Publisher) {
    let folder = world.path("two");
    let public = folder.join("public");
    let address = host.serve(move |target| match fs::read(public.join(target.trim_start_matches('/'))) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    });
    let url = format!("https://{NAME}:{}/feed.xml", address.port());
    let ran = stopgap(&["feed", "init", text(&folder), "--name", "two", "--url", &url]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let publisher = Publisher { folder, name: "two".to_owned() };
    publisher.write_m1(3);
    publisher.publish();
    let security = world.publisher_named("security");
    let trust = fs::read_to_string(publisher.trust()).unwrap();
    let both = format!("{trust}signatures = 2\ncosigners = [\"../security/trust.toml\"]\n");
    fs::write(publisher.trust(), both).unwrap();
    (publisher, security)
}

fn cosign(publisher: &Publisher, security: &Publisher) {
    let (feed, trust) = (publisher.feed(), publisher.trust());
    let (key, chain) = (security.folder.join("signing.key.pem"), security.folder.join("chain.pem"));
    let args = [
        "feed",
        "cosign",
        text(&feed),
        "--trust",
        text(&trust),
        "--key",
        text(&key),
        "--chain",
        text(&chain),
    ];
    let ran = stopgap(&args);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

/// A server with a gateway that follows the feed by its card; `keys` come first in its configuration.
fn server(world: &World, keys: &str) -> Gateway {
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("{keys}{}", gateway.target()));
    world.exchange(VULNERABLE);
    gateway
}

fn add(world: &World, publisher: &Publisher) -> Ran {
    let made = stopgap(&["feed", "card", text(&publisher.folder), "--json"]);
    assert_eq!(made.code, 0, "{made:#?}");
    let card = publisher.folder.join("card.toml");
    let fingerprint = made.json()["card_fingerprint"].as_str().unwrap().to_owned();
    world.stopgap(&["feed", "add", text(&card), "--fingerprint", &fingerprint, "--yes"])
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn one_signature_of_two_is_none_by_any_way() {
    let (world, host) = (World::new(), Authority::new("Feed Host CA"));
    let (publisher, security) = publisher(&world, &host);
    world.write("etc/roots.pem", &host.pem);
    let gateway = server(&world, "ca_bundle = \"roots.pem\"\n");
    let alone = add(&world, &publisher);
    assert!(alone.code == 4 && alone.stderr.contains("too-few-signatures"), "{alone:#?}");
    cosign(&publisher, &security);
    let added = add(&world, &publisher);
    assert_eq!(added.code, 0, "{added:#?}");
    assert!(added.stdout.contains("signatures        2 of 2"), "{added:#?}");
    let trust = world.json(0, &["feed", "trust", "two"]);
    assert_eq!(trust["cosigners"][0]["name"], "security Stopgap Feed Signing");
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    let tested = world.json(0, &["test-connectivity"]);
    let checks = tested["feeds"][0]["checks"].as_array().unwrap();
    let of = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap().clone();
    assert!(of("co-signatures")["detail"].as_str().unwrap().starts_with("1 of 1"), "{tested:#}");
    assert!(of("crl")["detail"].as_str().unwrap().starts_with("2 lists at hand"), "{tested:#}");

    let stick = world.path("stick");
    world.ok(&["feed", "export", "two", text(&stick)]);
    assert_eq!(names(&stick), ["two.1.crl", "two.2.crl", "two.xml", "two.xml.cosignature-1.xml"]);
    let far = World::new();
    let gateway = server(&far, "");
    let unseen = add(&far, &publisher);
    assert!(unseen.code == 0 && unseen.stderr.contains("could not be looked at"), "{unseen:#?}");
    fs::rename(stick.join("two.xml.cosignature-1.xml"), world.path("aside.xml")).unwrap();
    let alone = far.json(4, &["feed", "import", text(&stick)]);
    assert_eq!(alone["refusals"][0]["error"], "too-few-signatures");
    fs::rename(world.path("aside.xml"), stick.join("two.xml.cosignature-1.xml")).unwrap();
    assert_eq!(far.json(0, &["feed", "import", text(&stick)])["serial"], json!(1));
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    assert!(far.data().join("crls/two.json").exists(), "the lists came along");
    far.ok(&["feed", "remove", "two", "--revert"]);
    assert_eq!(names(&far.data().join("crls")), [""; 0], "what was remembered is forgotten");

    // A release without its co-signature takes the place of nothing.
    publisher.publish();
    assert_eq!(world.stopgap(&["apply"]).code, 1);
    assert_eq!(world.json(0, &["feed", "list"])[0]["serial"], 1);
}
