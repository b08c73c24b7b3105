//! The rules and the requests that every proxy of the benchmark gets.

use std::fmt::Write as _;

/// A pattern that refuses a request, looked for in its address without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Whether percent sequences are decoded before.
    pub decoded: bool,
    /// A regular expression, the same for every engine.
    pub text: String,
}

/// What M1 (`mitigations/M1`) looks for.
pub fn m1() -> Vec<Pattern> {
    vec![Pattern { decoded: true, text: "(?=.*autodiscover)(?=.*powershell)".into() }]
}

/// Rules as mitigations have them: a page below a folder, a parameter of a script, a path that leaves
/// its folder however it is encoded, two words in any order. Each has a literal of its own, the same
/// ones in every run.
pub fn many(count: usize) -> Vec<Pattern> {
    let mut words = Words(12_345);
    (0..count)
        .map(|number| {
            let (a, b) = (words.next(), words.next());
            let (decoded, text) = match number % 4 {
                0 => (false, format!(r"^/ecp/{a}/.*{b}\.aspx")),
                1 => (false, format!(r"/{a}\.php\?cmd=")),
                2 => (true, format!(r"{a}/\.\./{b}")),
                _ => (true, format!("(?=.*{a})(?=.*{b})")),
            };
            Pattern { decoded, text }
        })
        .collect()
}

/// An address that the last of [`many`] refuses, with one letter encoded.
pub fn attack(patterns: &[Pattern]) -> Option<String> {
    let last = patterns.last()?.text.strip_prefix("(?=.*")?.strip_suffix(')')?;
    let (first, second) = last.split_once(")(?=.*")?;
    let (begin, end) = second.split_at_checked(1)?;
    Some(format!("/x?{first}&%{:02X}{end}", begin.as_bytes().first()?))
}

/// Words of seven letters that can be spoken, from a linear congruential generator.
struct Words(u64);

impl Words {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit).unwrap_or(0)
    }

    fn next(&mut self) -> String {
        let mut word = String::new();
        for place in 0..7 {
            let letters = if place % 2 == 0 { "bcdfghklmnprstvw" } else { "aeiou" };
            let at = self.below(letters.len() as u64);
            word.push_str(letters.get(at..=at).unwrap_or_default());
        }
        word
    }
}

/// The same patterns in the language of the rules.
pub fn rewrite(patterns: &[Pattern]) -> String {
    let mut text = "<rewrite><rules>\n".to_owned();
    for (number, pattern) in patterns.iter().enumerate() {
        let input = if pattern.decoded { "{UrlDecode:{REQUEST_URI}}" } else { "{REQUEST_URI}" };
        let _ = writeln!(
            text,
            r#"<rule name="{number}" stopProcessing="true"><match url=".*"/><conditions><add input="{input}" pattern="{}"/></conditions><action type="AbortRequest"/></rule>"#,
            pattern.text
        );
    }
    text + "</rules></rewrite>\n"
}

/// Addresses as an Exchange server sees them, each used once: HAProxy remembers what it has looked up.
/// Every fourth holds one of the two words that M1 looks for, so that the rule cannot be dismissed by a
/// glance at the address.
pub const SCRIPT: &str = r#"
local n = 0
local forms = {
  "/owa/?ae=Folder&t=IPF.Note&id=%d&slUsng=0",
  "/autodiscover/autodiscover.xml?request=%d",
  "/mapi/emsmdb/?MailboxId=%08x-57c9-4c0c-8f0e-1f1ad2a1c0de@example.org",
  "/ews/exchange.asmx/%d?culture=en-US",
}
function request()
  n = n + 1
  return wrk.format("GET", string.format(forms[n % #forms + 1], n))
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("counted %d %d\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_has_words_of_its_own_and_the_attack_meets_the_last() {
        let patterns = many(1000);
        let distinct: std::collections::BTreeSet<_> = patterns.iter().map(|pattern| &pattern.text).collect();
        assert_eq!(distinct.len(), 1000);
        // Whether it does, each contestant shows before it is measured.
        let (last, attack_of_last) = (&patterns[999].text, attack(&patterns).unwrap());
        let (first, second) = (&last[5..12], &last[18..25]);
        assert_eq!(*last, format!("(?=.*{first})(?=.*{second})"));
        let encoded = format!("%{:02X}{}", second.as_bytes()[0], &second[1..]);
        assert_eq!(attack_of_last, format!("/x?{first}&{encoded}"));
        assert_eq!(attack(&m1()).as_deref(), Some("/x?autodiscover&%70owershell"));
    }
}
