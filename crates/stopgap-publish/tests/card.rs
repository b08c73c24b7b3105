//! A card is read as it was written, and is whole.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;

use stopgap_feed::card::{CARD_MAX, Card, CardError, CardFeed, fingerprint};
use stopgap_feed::trust::TrustFile;
use stopgap_publish::card::{Changes, make};
use stopgap_publish::folder;
use stopgap_publish::pki::Pki;

fn card() -> Card {
    let pki = Pki::create("Example Org", "2026-11-22T03:00:00Z".parse().unwrap()).unwrap();
    Card {
        feed: CardFeed {
            name: "example".parse().unwrap(),
            url: "https://feed.example.org/feed.xml".into(),
            mirrors: vec!["https://mirror.example.org/feed.xml".into()],
            contact: Some("security@example.org".into()),
        },
        trust: toml::from_str(&pki.trust_toml(&pki.root.certificate_pem)).unwrap(),
    }
}

#[test]
fn a_card_is_read_as_it_was_written_and_holds_all_that_a_subscriber_needs() {
    let card = card();
    let text = card.to_toml().unwrap();
    assert_eq!(Card::parse(&text).unwrap(), card);
    assert_eq!(fingerprint(&text).len(), 64);
    assert_ne!(fingerprint(&text), fingerprint(&text.replace("feed.example", "evil.example")));
    let trust: TrustFile = toml::from_str(&card.trust_toml().unwrap()).unwrap();
    let trust = trust.load_with(|name| panic!("the card is whole, and {name} was asked for")).unwrap();
    assert_eq!((trust.roots.len(), trust.eku.len()), (1, 2));
    assert_eq!(
        card.feed_toml("example.trust.toml"),
        "[[feed]]\nname = \"example\"\nurl = \"https://feed.example.org/feed.xml\"\n\
             mirrors = [\"https://mirror.example.org/feed.xml\"]\ntrust = \"example.trust.toml\"\n"
    );
}

#[test]
fn a_card_that_needs_other_files_or_says_more_is_refused() {
    let mut elsewhere = card();
    elsewhere.trust.roots = vec!["root.pem".into()];
    let error = Card::parse(&elsewhere.to_toml().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("roots names the file \"root.pem\": expected "), "{error}");
    let more = card().to_toml().unwrap().replace("[feed]", "[feed]\npriority = 1");
    assert!(matches!(Card::parse(&more), Err(CardError::Toml(_))));
    assert!(matches!(Card::parse(&" ".repeat(CARD_MAX + 1)), Err(CardError::TooLarge { .. })));
}

#[test]
fn a_card_that_is_made_again_holds_the_second_person_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    folder::init(dir.path(), &"example".parse().unwrap(), None, None, now).unwrap();
    let second = Pki::create("Second", now).unwrap();
    let theirs = dir.path().join("second");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("root.pem"), &second.root.certificate_pem).unwrap();
    let single = second.trust_toml("root.pem");
    fs::write(theirs.join("trust.toml"), single).unwrap();
    let trust = dir.path().join("trust.toml");
    let two = format!(
        "signatures = 2\ncosigners = [\"second/trust.toml\"]\n{}",
        fs::read_to_string(&trust).unwrap()
    );
    fs::write(&trust, two).unwrap();

    let changes =
        Changes { mirrors: vec!["https://mirror.example.org/feed.xml".into()], ..Changes::default() };
    let made = make(dir.path(), changes).unwrap();
    let card = Card::parse(&fs::read_to_string(&made.path).unwrap()).unwrap();
    assert_eq!((card.feed.mirrors.len(), made.fingerprint), (1, fingerprint(&made.text)));
    let trust = card.trust.load_with(|name| panic!("the card is whole, and {name} was asked for")).unwrap();
    assert_eq!((trust.signatures, trust.cosigners.len()), (2, 1));
    assert_eq!(trust.cosigners[0].trust.roots[0].as_ref(), second.root.certificate_der);
}
