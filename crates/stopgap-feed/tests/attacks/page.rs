//! docs/security/update-channel.md, written from the attacks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::{ALL, refusal};

const HEAD: &str = "# Attacks on the update channel\n\n\
This page is written by a test (`UPDATE_GOLDEN=1 cargo test -p stopgap-feed --test attacks page`), which \
runs every attack on it. In each one a publisher, its certificates and a server are made, the publisher's \
document is trusted, the attack is carried out, and the server refuses with the code that stands here. The \
code is stable; scripts may rely on it. A code with a second one behind it is followed by the reason of a \
part: a co-signature that did not count, a timestamp that gave no time.\n\n\
Who the attackers are, and what nothing here stops, is in [threat-model.md](threat-model.md).\n";

/// What happens before there is a document, and on the server afterwards: tests elsewhere, as
/// (attack, defense, file, test). An empty file means that no test exists yet.
const ELSEWHERE: &[(&str, &str, &str, &str)] = &[
    ("Endless data", "A limit on what is read, whatever the server announces", "", ""),
    ("Slow data", "A deadline for the whole answer", "", ""),
    ("A decompression bomb", "No compressed answer is asked for or unpacked", "", ""),
    ("A redirect loop, or one from https to http", "At most five redirects, none from https to http", "", ""),
    (
        "A TLS certificate of somebody else",
        "TLS with the usual checks; the document's signature in any case",
        "",
        "",
    ),
    (
        "An event stream of another origin",
        "Only the feed's own origin may announce one",
        "crates/stopgap-agent/src/fetch.rs",
        "only_the_same_origin_may_announce_a_stream",
    ),
];

/// The catalog of attack classes (TUF's ten, Uptane's five, and those that implementations have
/// met), each with where it is answered.
const CATALOG: &[(&str, &str)] = &[
    ("Arbitrary installation", "here: `arbitrary_installation_without_signature`, `the_attackers_keyinfo`"),
    ("Endless data", "here, at the parser: `endless_data`; while fetching: below"),
    ("Extraneous dependencies", "does not apply: a document depends on nothing and fetches nothing"),
    ("Fast-forward", "here: `fast_forward`. Repaired by a new trust entry"),
    ("Indefinite freeze", "here: `freeze`"),
    ("Malicious mirror", "here: whatever a mirror serves is one of these attacks"),
    ("Mix-and-match", "here: `mix_and_match`"),
    ("Rollback", "here: `rollback`"),
    ("Sub-threshold key compromise", "here: `sub_threshold`"),
    ("Wrong item", "here: `another_feeds_document`, `cross_organization_replay`"),
    ("Eavesdropping", "not stopped: a feed is public, and TLS hides it no more than any address"),
    ("Drop request", "seen, not stopped: `freeze`; status says when a feed was last reached"),
    ("Slow retrieval", "while fetching: below"),
    ("Partial bundle", "does not apply: a release is one document"),
    ("Repository denial of service", "not stopped: what is in force stays"),
    (
        "One key counted twice",
        "here: `a_cosigner_counted_twice`, `two_certificates_of_one_key`, `the_publisher_counted_twice`",
    ),
    (
        "Path traversal in names",
        "elsewhere: names of feeds and ids have a closed alphabet (`stopgap_feed::Id`)",
    ),
    ("Two versions in the same second", "here: `equal_serial_with_other_content`"),
    ("Expiry used as denial", "elsewhere: an expired document brings nothing new and takes nothing off"),
    ("The clock", "here: `a_clock_that_was_never_set`, `a_clock_that_was_set_back`"),
    ("Cross-organization replay", "here: `cross_organization_replay`, `another_signer`, `another_issuer`"),
    ("Revocation", "here: `a_revoked_leaf` to `a_huge_revocation_list`"),
    ("Usages and name constraints", "here: `a_leaf_for_another_purpose` to `a_name_outside_the_constraints`"),
    ("An expired leaf, with and without timestamp", "here: `an_expired_leaf`, and all of \"Timestamps\""),
    ("XML signature wrapping and its kin", "here: \"Signature wrapping\", \"Octets and XML\""),
    ("Duplicate keys, huge numbers, bad UTF-8, deep nesting", "here: \"Octets and XML\""),
    ("Algorithm downgrade", "here: \"The signature's form and algorithms\""),
    ("Split view", "in part: `equal_serial_with_other_content` on one server; nothing compares servers"),
    ("A compromised hub", "not built: there is no hub"),
    ("A relay that serves a part", "does not apply: a release is one document"),
    ("A mitigation that blocks everything", "elsewhere: allowed probes, `allow`, `cosigned`"),
    ("Costly patterns", "elsewhere: patterns run in linear time or are refused"),
    ("A pattern that injects directives", "elsewhere: the drivers' quoting and its tests"),
    ("Links in place of files", "elsewhere: the drivers"),
    (
        "State that is truncated or swapped",
        "in part: a memory that cannot be read stops the feed; root can swap it",
    ),
    ("An older agent", "not built: the agent does not update itself"),
    ("Forged reports", "not built: there is no hub"),
    ("Replayed enrollment", "not built: there is no hub"),
    ("An event that brings content", "elsewhere: an event only says when to fetch"),
    ("A herd after an outage", "elsewhere: jitter in the agent"),
];

#[test]
fn page_is_what_the_attacks_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("docs/security/update-channel.md");
    let wanted = page(&root);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = wanted.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(wanted == found, "{} differs: run with UPDATE_GOLDEN=1; first: {differs:?}", path.display());
}

#[test]
fn names_of_attacks_are_unique_and_the_catalog_names_real_ones() {
    let names: Vec<&str> =
        ALL.iter().flat_map(|(_, attacks)| attacks.iter().map(|attack| attack.name)).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), unique.len());
    for (class, answer) in CATALOG {
        for name in
            answer.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && !name.contains(':'))
        {
            assert!(unique.contains(name), "{class}: no attack `{name}`");
        }
    }
}

fn page(root: &Path) -> String {
    let mut out = HEAD.to_owned();
    let count: usize = ALL.iter().map(|(_, attacks)| attacks.len()).sum();
    writeln!(out, "\n{count} attacks, {} codes.", codes()).unwrap();
    for (heading, attacks) in ALL {
        writeln!(
            out,
            "\n## {heading}\n\n| attack | defense | test | code | what is said |\n|---|---|---|---|---|"
        )
        .unwrap();
        for attack in *attacks {
            let (code, text) = refusal(attack);
            let code = code.replace(' ', "`, `");
            writeln!(
                out,
                "| {} | {} | `{}` | `{code}` | {} |",
                attack.what,
                attack.defense,
                attack.name,
                cell(&text)
            )
            .unwrap();
        }
    }
    out.push_str("\n## Elsewhere\n\n| attack | defense | test |\n|---|---|---|\n");
    for (attack, defense, file, test) in ELSEWHERE {
        let test = if file.is_empty() {
            "none yet".to_owned()
        } else {
            let source = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
            format!("`{test}` in {file}")
        };
        writeln!(out, "| {attack} | {defense} | {test} |").unwrap();
    }
    out.push_str("\n## The catalog\n\nThe attack classes of TUF (1 to 10) and Uptane (11 to 15), and what implementations of such channels have met.\n\n| | class | answer |\n|---|---|---|\n");
    for (at, (class, answer)) in CATALOG.iter().enumerate() {
        writeln!(out, "| {} | {class} | {answer} |", at + 1).unwrap();
    }
    out
}

fn codes() -> usize {
    let codes = ALL.iter().flat_map(|(_, attacks)| attacks.iter().flat_map(|attack| attack.code.split(' ')));
    codes.collect::<BTreeSet<_>>().len()
}

/// One line of a table, and none that a name of a megabyte fills.
fn cell(text: &str) -> String {
    let line: String = text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;");
    if line.chars().count() <= 300 { line } else { line.chars().take(299).chain(['…']).collect() }
}
