//! Identities, documents and tools that several test files need.
#![allow(dead_code, reason = "no test file needs all of it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use stopgap_feed::card::Card;
use stopgap_feed::{Document, Revocation, Trust, TrustFile, VerifiedFeed};
use stopgap_publish::builtin;
use stopgap_publish::folder::{self, Wishes};
use stopgap_publish::pki::Pki;
use tempfile::TempDir;

/// The time at which the tests take place.
pub fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// A key, its chain and the root above, all PEM.
pub struct Identity {
    pub name: &'static str,
    pub key: String,
    pub chain: String,
    pub root: String,
}

pub fn identities() -> [Identity; 2] {
    [ec(), rsa()]
}

pub fn ec() -> Identity {
    let pki = Pki::create("Example", now()).unwrap();
    Identity {
        name: "P-256",
        chain: pki.chain_pem(),
        key: pki.signing.key_pem,
        root: pki.root.certificate_pem,
    }
}

/// Made with openssl, for tests only: ring does not make RSA keys.
pub fn rsa() -> Identity {
    Identity {
        name: "RSA-3072",
        key: include_str!("../fixtures/rsa-leaf.key.pem").to_owned(),
        chain: include_str!("../fixtures/rsa-chain.pem").to_owned(),
        root: include_str!("../fixtures/rsa-root.pem").to_owned(),
    }
}

impl Identity {
    pub fn trust(&self) -> Trust {
        let file: TrustFile =
            toml::from_str("roots = [\"root\"]\neku = [\"1.3.6.1.5.5.7.3.3\", \"1.3.6.1.4.1.32473.83.1\"]")
                .unwrap();
        file.load_with(|_| Ok(self.root.clone().into_bytes())).unwrap()
    }

    pub fn verify(&self, signed: &[u8]) -> Result<VerifiedFeed, stopgap_feed::Refusal> {
        stopgap_feed::verify(&self.trust(), signed, None, &Revocation::off(), now())
    }
}

/// Two feeds: a plain one, and one with all that canonical XML has an opinion about and the feed's
/// grammar allows.
pub fn documents() -> [(&'static str, Vec<u8>); 2] {
    let head =
        "feed=\"example\" serial=\"42\" issued=\"2026-11-25T00:00:00Z\" expires=\"2026-12-06T03:00:00Z\"";
    let simple = format!(
        "<EOCS version=\"2.0\" {head}>\n  <Config id=\"PING1\" desc=\"Heartbeat\">\n    <ActionList>\n      \
         <Action id=\"PING1\" type=\"DoNothing\" scope=\"Server\" desc=\"Heartbeat\"><Value>DoNothing</Value></Action>\n    \
         </ActionList>\n  </Config>\n</EOCS>\n"
    );
    let tricky = format!(
        "\u{feff}<?xml version='1.0' encoding='UTF-8' standalone=\"yes\"?>\r\n<?before the \"root\"?>\r\n<!-- not signed -->\r\n\
         <EOCS   version='2.0'\r\n  {head} xmlns:unused=\"urn:unused\">\r\n\
         \t<Config id='M1' desc=\"tab\there, &#x9;&#13;&#xA; refs, &lt;&amp;>&quot;&apos; \u{1F6E1}\u{FE0F} \u{E9}\">\r\n\
         <ActionList><Action id=\"M1.1\" type=\"DoNothing\" scope=\"Server\" desc='\"'><Value>DoNothing</Value></Action></ActionList>\r\n\
         <Probes><Request expect=\"allowed\"><![CDATA[GET /?a=1&b=<2>&c=]]]]><![CDATA[> HTTP/1.1\r\nX: \u{1F600}]]></Request></Probes>\r\n\
         <!-- nor is this --><Rollback>line\r\nline&#13;\rline &#x10FFFF; &gt;</Rollback></Config>\r\n\
         <Withdrawn id=\"M0\" reason=\"\"></Withdrawn></EOCS>\r\n<?after?><!-- end -->\r\n"
    );
    [("simple", simple.into_bytes()), ("tricky", tricky.into_bytes())]
}

/// All that a document says. Its octets are spelled canonically once they are signed.
pub fn meaning(document: &Document) -> Document {
    let mut document = document.clone();
    document.mitigations.iter_mut().for_each(|mitigation| mitigation.octets.clear());
    document
}

/// Whether a tool is there. In CI its absence is a failure.
pub fn have(tool: &str, test: &str) -> bool {
    let found =
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {tool}: {test} cannot run");
        println!("skipped (no {tool}): {test}");
    }
    found
}

/// Runs a command in `dir`; its output, or a panic with its complaint.
pub fn run(dir: &Path, command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(dir).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {arguments:?}: {text}");
    text
}

/// A feed's folder with these of the project's own mitigations, as `feed init` makes it.
pub fn feed_with(ids: &[&str], wishes: &Wishes<'_>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    folder::init_with(dir.path(), &"example".parse().unwrap(), wishes, now()).unwrap();
    for id in ids {
        folder::add(dir.path(), builtin::find(id).unwrap()).unwrap();
    }
    dir
}

/// What a subscriber has: the trust of a card, and nothing else of the folder.
pub fn subscriber(dir: &Path) -> Trust {
    let card = Card::parse(&fs::read_to_string(dir.join("card.toml")).unwrap()).unwrap();
    card.trust.load_with(|name| panic!("the card is whole, and {name} was asked for")).unwrap()
}

/// What stands at the feed's address, judged by a subscriber at a time, with the lists that stand there.
pub fn judge(dir: &Path, trust: &Trust, at: Timestamp) -> Result<VerifiedFeed, stopgap_feed::Refusal> {
    let crls = fs::read_dir(dir.join("public/crl")).into_iter().flatten();
    let crls = crls.map(|entry| fs::read(entry.unwrap().path()).unwrap().into()).collect();
    let revocation = Revocation { mode: trust.revocation, crls };
    stopgap_feed::verify(trust, &fs::read(dir.join("public/feed.xml")).unwrap(), None, &revocation, at)
}

/// So many days after [`now`].
pub fn days(days: i64) -> Timestamp {
    now().checked_add(jiff::SignedDuration::from_hours(24 * days)).unwrap()
}
