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
/// (attack, defense, file, test, code). An empty code: the attack changes nothing, and no refusal is told.
const ELSEWHERE: &[(&str, &str, &str, &str, &str)] = &[
    (
        "Endless data",
        "A limit on what is read, whatever the server announces",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "endless_data",
        "too-large",
    ),
    (
        "Slow data: an octet now and then",
        "Each ten seconds bring a share; the whole answer has a deadline",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "slow_data",
        "too-slow",
    ),
    (
        "An answer whose head never ends",
        "A deadline for the whole answer",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_head_that_never_comes",
        "too-slow",
    ),
    (
        "Addresses that all hold the line",
        "All addresses of a feed have one deadline",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "all_addresses_together_have_one_limit",
        "too-slow",
    ),
    (
        "A decompression bomb",
        "Plain octets are asked for, others are refused, nothing is unpacked",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_decompression_bomb",
        "content-encoding",
    ),
    (
        "A compressed answer that does not say so",
        "Nothing is unpacked",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_compressed_answer_that_does_not_say_so",
        "not-utf8",
    ),
    (
        "A huge header",
        "A limit on the head of an answer",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_huge_header",
        "bad-answer",
    ),
    (
        "Fewer octets than announced",
        "The end of an answer is known",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_body_that_is_shorter_than_announced",
        "short-body",
    ),
    (
        "More octets than announced: the rest is cut off",
        "A document is read whole or not at all",
        "crates/stopgap-agent/tests/fetch/transport.rs",
        "a_body_that_is_longer_than_announced",
        "malformed-xml",
    ),
    (
        "A redirect loop",
        "At most five redirects",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "five_redirects_are_followed_and_a_loop_is_not",
        "redirect-loop",
    ),
    (
        "A redirect from https to http",
        "None is followed",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "a_redirect_from_https_to_http",
        "redirect-downgrade",
    ),
    (
        "A redirect to this machine, a private network, a cloud's metadata",
        "Addresses of the internet only, however they are written, unless the feed is not on the internet itself or `redirects_to_private` allows it",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "a_redirect_to_a_private_address",
        "redirect-private",
    ),
    (
        "The same by a name",
        "Judged by the addresses that are connected to",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "a_redirect_to_a_name_of_a_private_address",
        "redirect-private",
    ),
    (
        "A name that answers otherwise the second time (DNS rebinding)",
        "Judged in the resolver, at each connection",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "a_redirect_to_a_name_that_answers_otherwise_the_second_time",
        "redirect-private",
    ),
    (
        "A redirect to a file or nowhere",
        "http and https only",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "a_redirect_to_nowhere",
        "bad-answer",
    ),
    (
        "A TLS certificate of somebody else",
        "The system's roots or `ca_bundle`; the document's signature in any case",
        "crates/stopgap-agent/tests/fetch/tls.rs",
        "a_tls_certificate_of_somebody_else",
        "tls",
    ),
    (
        "A TLS certificate that has expired",
        "TLS with the usual checks",
        "crates/stopgap-agent/tests/fetch/tls.rs",
        "a_tls_certificate_that_has_expired",
        "tls",
    ),
    (
        "A TLS certificate for another name",
        "TLS with the usual checks",
        "crates/stopgap-agent/tests/fetch/tls.rs",
        "a_tls_certificate_for_another_name",
        "tls",
    ),
    (
        "A proxy that looks into TLS",
        "It is told; it would have to be in `ca_bundle`",
        "crates/stopgap-agent/tests/fetch/proxies.rs",
        "a_proxy_that_looks_into_tls",
        "tls",
    ),
    (
        "A proxy that asks for credentials",
        "Those of the configured file, to that proxy alone",
        "crates/stopgap-agent/tests/fetch/proxies.rs",
        "a_proxy_that_asks_for_credentials",
        "proxy-auth",
    ),
    (
        "A proxy that fails",
        "No way around it is tried",
        "crates/stopgap-agent/tests/fetch/proxies.rs",
        "a_proxy_that_fails",
        "proxy",
    ),
    (
        "A redirect through the proxy to a private address, or to a host that is asked directly",
        "Written addresses, and whatever is not the proxy's to resolve, are judged",
        "crates/stopgap-agent/tests/fetch/proxies.rs",
        "a_redirect_to_a_private_address_through_the_proxy",
        "redirect-private",
    ),
    (
        "A proxy in the service's environment",
        "Variables are not read",
        "crates/stopgap-agent/tests/fetch/proxies.rs",
        "proxies_of_the_environment_are_not_used",
        "",
    ),
    (
        "A mirror that serves an older release",
        "Serials grow; the other addresses are asked",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "a_mirror_with_an_older_document_hides_no_newer_one",
        "rollback",
    ),
    (
        "A mirror that serves an expired release",
        "A release ends; the other addresses are asked",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "a_mirror_with_an_expired_document_hides_no_newer_one",
        "expired",
    ),
    (
        "A mirror that serves a foreign document",
        "A trust entry is for one feed; the other addresses are asked",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "a_mirror_with_a_foreign_document",
        "wrong-feed",
    ),
    (
        "\"Not modified\", though nothing is here",
        "It is an answer to who has said what he has",
        "crates/stopgap-agent/tests/fetch/conditions.rs",
        "not_modified_though_nothing_is_here",
        "unchanged-of-nothing",
    ),
    (
        "A mirror's tag that stands for another's document",
        "Only who said a tag is told it",
        "crates/stopgap-agent/tests/fetch/conditions.rs",
        "a_mirror_is_not_told_what_another_said",
        "",
    ),
    (
        "\"Not modified\" for ever",
        "The release that is here ends; the other addresses are asked",
        "crates/stopgap-agent/tests/fetch/conditions.rs",
        "not_modified_of_a_document_that_has_expired",
        "expired",
    ),
    (
        "A co-signature that is held back, or is of the release before",
        "`signatures = 2`",
        "crates/stopgap-agent/tests/fetch/cosignatures.rs",
        "a_co_signature_that_is_held_back",
        "too-few-signatures",
    ),
    (
        "A co-signature without end",
        "A limit on what is read",
        "crates/stopgap-agent/tests/fetch/cosignatures.rs",
        "a_co_signature_without_end_is_left_out",
        "too-few-signatures",
    ),
    (
        "A revocation list that is held back",
        "`revocation = \"require\"`; what is kept goes on counting",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "a_required_list_that_is_held_back",
        "crl-missing",
    ),
    (
        "A revocation is undone with an older or a forged list",
        "A list that revokes a signer stays",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "a_revocation_is_not_undone_with_an_older_or_a_forged_list",
        "revoked-certificate",
    ),
    (
        "A newer list is replaced by an older, forged or future one",
        "`thisUpdate` grows; a list of another key takes no place",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "an_older_forged_or_future_list_takes_no_newer_ones_place",
        "",
    ),
    (
        "Certificates in the document name addresses of the attacker's choice",
        "Lists are fetched for verified paths only",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "certificates_that_nobody_verified_send_the_agent_nowhere",
        "unknown-root",
    ),
    (
        "An authority's revocation is undone with a newer list by another key",
        "A list that revokes an authority stays",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "an_authoritys_revocation_is_not_undone_with_a_forged_list",
        "revoked-certificate",
    ),
    (
        "A pipe in place of a file, which holds whoever opens it",
        "Files only",
        "crates/stopgap-agent/tests/fetch/files.rs",
        "a_pipe_is_no_file_and_nobody_waits_for_it",
        "file",
    ),
    (
        "The agent's memory is damaged, and the feed rolled back",
        "Nothing new is trusted; what is applied stays",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "an_agent_whose_trust_state_is_damaged_trusts_nothing_new_and_says_so",
        "trust-state",
    ),
    (
        "A clock of 1970, or one that was set back",
        "Its own code each; nothing is forgotten",
        "crates/stopgap-agent/tests/fetch/mirrors.rs",
        "a_clock_of_1970_and_one_that_was_set_back_have_their_own_code",
        "clock-not-set",
    ),
    (
        "An event stream of another origin",
        "Only the feed's own origin may announce one",
        "crates/stopgap-agent/src/fetch.rs",
        "only_the_same_origin_may_announce_a_stream",
        "",
    ),
    (
        "An event stream that is redirected elsewhere",
        "The same rules as for a document",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "an_event_stream_is_redirected_by_the_same_rules",
        "",
    ),
    (
        "A revocation is undone by whoever fills a folder",
        "No list takes the place of a newer one, or of any other",
        "crates/stopgap-agent/tests/fetch/folders.rs",
        "whoever_fills_a_folder_makes_no_revocation_forgotten",
        "revoked-certificate",
    ),
    (
        "A link in a folder, by which a secret is copied to where everybody reads",
        "Nothing is kept that has not the form of a list or a co-signature",
        "crates/stopgap-agent/tests/fetch/folders.rs",
        "a_link_in_a_folder_copies_no_other_file_to_where_everybody_reads",
        "",
    ),
    (
        "A signer's certificate names a list at this machine or in a private network",
        "Addresses of the internet only, as after a redirect",
        "crates/stopgap-agent/tests/fetch/lists.rs",
        "a_feed_of_the_internet_sends_no_server_to_its_own_network_for_lists",
        "",
    ),
    (
        "An event stream announced by whoever a redirect led to",
        "Only the feed's own origin may announce one",
        "crates/stopgap-agent/tests/fetch/redirects.rs",
        "whoever_a_redirect_led_to_announces_no_event_stream",
        "",
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
    (
        "Malicious mirror",
        "here: whatever a mirror serves is one of these attacks; and below, where others are asked",
    ),
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
    out.push_str("\n## Elsewhere\n\nThe code stands in `error` of `stopgap status --json`.\n\n| attack | defense | test | code |\n|---|---|---|---|\n");
    for (attack, defense, file, test, code) in ELSEWHERE {
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
        let in_source = code.is_empty() || source.contains(&format!("\"{code}\""));
        assert!(in_source, "{file} says nothing of {code}");
        let code = if code.is_empty() { "-".to_owned() } else { format!("`{code}`") };
        writeln!(out, "| {attack} | {defense} | `{test}` in {file} | {code} |").unwrap();
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
