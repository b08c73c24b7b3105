//! Package versions against those who define them: the real `dpkg`, and the vectors that rpm publishes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::cmp::Ordering;
use std::process::{Command, Stdio};

use stopgap_core::version::compare;
use stopgap_feed::document::VersionScheme::{Dpkg, Rpm};

/// Numbers from a seed (SplitMix64), so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const PIECES: &[&str] = &[
    "0",
    "1",
    "2",
    "9",
    "10",
    "010",
    "00",
    "a",
    "b",
    "Z",
    "rc",
    "git",
    "~",
    "~~",
    "+",
    ".",
    ".",
    "-",
    "0",
    "+dfsg",
    "~deb12u",
    "+b1",
    "99999999999999999999",
    "+really",
];

fn version(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.roll(4) == 0 {
        text.push_str(dice.pick(&["0:", "1:", "01:", "2147483647:"]));
    }
    text.push_str(dice.pick(&["0", "1", "1.2", "2.4.57", "10", "1.6.5+dfsg", "1.", "01"]));
    for _ in 0..dice.roll(5) {
        text.push_str(dice.pick(PIECES));
    }
    if dice.roll(2) == 0 {
        text.push('-');
        text.push_str(dice.pick(&["0", "1", "2~deb12u1", "1+deb12u5", "00", "~", "1ubuntu2.3", "0", "a"]));
    }
    text
}

/// Like the first but for one character: neighbors are where orders go wrong.
fn neighbor(dice: &mut Dice, of: &str) -> String {
    let mut bytes = of.as_bytes().to_vec();
    let at = dice.roll(bytes.len().max(1));
    match dice.roll(3) {
        0 if !bytes.is_empty() => drop(bytes.remove(at)),
        1 if !bytes.is_empty() => bytes[at] = b"0019a.~+-Z:"[dice.roll(11)],
        _ => bytes.insert(at.min(bytes.len()), b"0019a.~+-Z:"[dice.roll(11)]),
    }
    String::from_utf8(bytes).unwrap()
}

/// What `dpkg` says, one process for a question; nothing where it refuses one of them, or warns of bad syntax
/// and then compares it anyway.
fn dpkg(a: &str, b: &str) -> Option<Ordering> {
    let holds = |relation: &str| {
        let output = Command::new("dpkg").args(["--compare-versions", a, relation, b]).output().unwrap();
        match output.status.code().unwrap() {
            0 if output.stderr.is_empty() => Some(true),
            1 if output.stderr.is_empty() => Some(false),
            _ => None,
        }
    };
    // An empty string means "no version" there, and is none here; a sign before an epoch is not looked at.
    if [a, b].iter().any(|text| text.is_empty() || (text.contains(':') && text.starts_with(['+', '-']))) {
        return None;
    }
    if holds("lt")? {
        return Some(Ordering::Less);
    }
    Some(if holds("eq")? { Ordering::Equal } else { Ordering::Greater })
}

#[test]
fn dpkg_versions_compare_as_dpkg_compares_them() {
    if Command::new("dpkg").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "dpkg is missing");
        println!("skipped (no dpkg): dpkg_versions_compare_as_dpkg_compares_them");
        return;
    }
    let mut dice = Dice(12);
    let (mut counts, mut refused) = ([0; 3], 0);
    for _ in 0..1_500 {
        let a = version(&mut dice);
        let b = if dice.roll(3) == 0 { version(&mut dice) } else { neighbor(&mut dice, &a) };
        let (expected, found) = (dpkg(&a, &b), compare(Dpkg, &a, &b).ok());
        assert_eq!(found, expected, "{a:?} {b:?}");
        match expected {
            Some(ordering) => counts[(ordering as i8 + 1) as usize] += 1,
            None => refused += 1,
        }
        assert_eq!(compare(Dpkg, &b, &a).ok(), expected.map(Ordering::reverse), "{b:?} {a:?}");
    }
    let [less, equal, greater] = counts;
    println!("1500 pairs: {less} less, {equal} equal, {greater} greater, {refused} no versions");
    assert!(less > 200 && equal > 30 && greater > 200 && refused > 50, "the generator has gone blind");
}

#[test]
fn a_debian_backport_is_older_than_what_it_backports() {
    for (older, newer) in [
        ("1.6.5+dfsg-1+deb12u4", "1.6.5+dfsg-1+deb12u5"),
        ("1.6.5+dfsg-1+deb12u9", "1.6.5+dfsg-1+deb12u13"),
        ("10.1.34-0+deb12u1", "10.1.34-0+deb12u2"),
        ("10.1.34-0+deb12u2", "10.1.60-1~deb12u1"),
        ("2.4.71-1~deb12u1", "2.4.71-1"),
        ("2.4.12.3-2", "2.4.12.3-2+deb12u1"),
        ("9", "1:0"),
    ] {
        assert_eq!(compare(Dpkg, older, newer), Ok(Ordering::Less), "{older} {newer}");
    }
}

/// The first column is older than the second (`<`) or equal to it (`=`): facts of rpm's own
/// `tests/rpmvercmp.at`, each asked both ways.
const RPM: &str = "
1.0 = 1.0|1.0 < 2.0|2.0.1 = 2.0.1|2.0 < 2.0.1|2.0.1a = 2.0.1a|2.0.1 < 2.0.1a|5.5p1 = 5.5p1|5.5p1 < 5.5p2
5.5p10 = 5.5p10|5.5p1 < 5.5p10|10xyz < 10.1xyz|xyz10 = xyz10|xyz10 < xyz10.1|xyz.4 = xyz.4|xyz.4 < 8|xyz.4 < 2
5.5p2 < 5.6p1|5.6p1 < 6.5p1|6.0 < 6.0.rc1|10a2 < 10b2|1.0a < 1.0aa|1.0aa = 1.0aa|10.0001 = 10.0001
10.0001 = 10.1|10.1 = 10.0001|10.0001 < 10.0039|4.999.9 < 5.0|20101121 = 20101121|20101121 < 20101122
2_0 = 2_0|2.0 = 2_0|a = a|a+ = a+|a+ = a_|+a = +a|+a = _a|+_ = +_|_+ = +_|_+ = _+|+ = _
1.0~rc1 = 1.0~rc1|1.0~rc1 < 1.0|1.0~rc1 < 1.0~rc2|1.0~rc1~git123 = 1.0~rc1~git123|1.0~rc1~git123 < 1.0~rc1
1.0^ = 1.0^|1.0 < 1.0^|1.0^git1 = 1.0^git1|1.0 < 1.0^git1|1.0^git1 < 1.0^git2|1.0^git1 < 1.01
1.0^20160101 = 1.0^20160101|1.0^20160101 < 1.0.1|1.0^20160101^git1 = 1.0^20160101^git1
1.0^20160101^git1 < 1.0^20160102|1.0~rc1^git1 = 1.0~rc1^git1|1.0~rc1 < 1.0~rc1^git1
1.0^git1~pre = 1.0^git1~pre|1.0^git1~pre < 1.0^git1
1b.fc17 = 1b.fc17|1b.fc17 < 1.fc17|1g.fc17 = 1g.fc17|1.fc17 < 1g.fc17";

#[test]
fn rpm_versions_compare_as_rpms_own_vectors_say() {
    let mut vectors = 0;
    for vector in RPM.split(['\n', '|']).filter(|vector| !vector.is_empty()) {
        let [a, relation, b]: [&str; 3] = vector.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let expected = if relation == "<" { Ordering::Less } else { Ordering::Equal };
        assert_eq!(compare(Rpm, a, b), Ok(expected), "{vector}");
        assert_eq!(compare(Rpm, b, a), Ok(expected.reverse()), "{vector}, reversed");
        vectors += 2;
    }
    println!("{vectors} vectors");
}

#[test]
fn rpm_epochs_come_first_and_releases_count_where_both_have_one() {
    for (older, newer) in
        [("9.9-9", "1:0.1-1"), ("1.2-1.el9", "1.2-1.el9_4.2"), ("1.2-9", "1.2-10"), ("1.2~rc1-9", "1.2-1")]
    {
        assert_eq!(compare(Rpm, older, newer), Ok(Ordering::Less), "{older} {newer}");
    }
    assert_eq!(compare(Rpm, "0:1.2-1", "1.2-1"), Ok(Ordering::Equal));
    assert_eq!(compare(Rpm, "1.2.3-4.el9", "1.2.3"), Ok(Ordering::Equal));
}
