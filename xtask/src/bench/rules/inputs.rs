//! What is measured: rules as a feed of mitigations would hold them, and requests that none of them stops.
//! The same in every form that the contestants read.

use std::fmt::Write as _;

/// What a rule looks at: one variable, and a pattern over it, ignoring case.
pub struct Rule {
    pub variable: Variable,
    pub pattern: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    Uri,
    DecodedUri,
    Cookie,
    UserAgent,
}

/// The name of a product, a file or a parameter: syllables, another one for each number.
fn name(number: usize) -> String {
    const SYLLABLES: [&str; 32] = [
        "ka", "lor", "zim", "bra", "tes", "ven", "qui", "dax", "mor", "pel", "fin", "gar", "hu", "jen",
        "kib", "lan", "nex", "ory", "pro", "rus", "sol", "tra", "ul", "vor", "wex", "xen", "yar", "zo",
        "cit", "drup", "ex", "for",
    ];
    // Multiplication by an odd number goes through all of them without an order that can be seen.
    let mixed = (number * 20_507 + 11_213) % (1 << 20);
    let syllable = |place: usize| SYLLABLES.get((mixed >> (5 * place)) % 32).copied().unwrap_or_default();
    format!("{}{}{}{}", syllable(0), syllable(1), syllable(2), syllable(3))
}

/// Words of everyday requests, which rules name, too.
const WORDS: [&str; 8] =
    ["calendar", "upload", "export", "admin", "powershell", "report", "backend", "console"];

/// So many rules. Each needs a literal of its own, with four bytes and more.
pub fn rules(count: usize) -> Vec<Rule> {
    (0..count)
        .map(|number| {
            let (word, other) = (name(number), name(number + 500_000));
            let common = WORDS.get(number / 8 % WORDS.len()).copied().unwrap_or_default();
            let (variable, pattern) = match number % 8 {
                0 => (Variable::Uri, format!(r"/wp-content/plugins/{word}-{other}/.*\.php")),
                1 => (Variable::DecodedUri, format!(r".*{word}/{other}.*\.\./")),
                2 => (Variable::Uri, format!(r"^/(?:cgi-bin|api)/{word}/{common}(?:\?|$)")),
                3 => (Variable::DecodedUri, format!("(?=.*{word})(?=.*{common})")),
                4 => (Variable::Cookie, format!("(.*)X-{word}-{common}=(.+)/(.+)~(.+)")),
                5 => (Variable::DecodedUri, format!(r".*autodiscover\.json.*{word}.*")),
                6 => (Variable::UserAgent, format!("{word}(?:bot|scan)")),
                _ => (Variable::Uri, format!(r"[?&]{word}_id=[^&]*(?:'|%27)")),
            };
            Rule { variable, pattern }
        })
        .collect()
}

/// So many requests, each with an address of its own of `length` bytes, and heads of 600 bytes and more.
pub fn requests(count: usize, length: usize) -> String {
    const FORMS: [&str; 6] = [
        "/owa/?ae=Folder&t=IPF.Note&slUsng=0&id=",
        "/autodiscover/autodiscover.xml?Email=user%40example.org&request=",
        "/mapi/emsmdb/?MailboxId=57c9-4c0c-8f0e-1f1ad2a1c0de@example.org&n=",
        "/ews/exchange.asmx/calendar?culture=en-US&view=",
        "/api/v2/report/export?from=2026-01-01&to=2026-02-01&page=",
        "/wp-content/plugins/contact-form/includes/js/index.js?ver=",
    ];
    let mut text = String::new();
    for number in 0..count {
        let form = FORMS.get(number % FORMS.len()).copied().unwrap_or_default();
        let mut target = format!("{form}{number:06}");
        let mut mixed = number;
        while target.len() < length {
            mixed = (mixed * 1_103_515_245 + 12_345) % 0x7fff_ffff;
            let word = if mixed % 3 == 0 {
                WORDS.get(mixed / 3 % WORDS.len()).copied().unwrap_or_default().to_owned()
            } else {
                name(600_000 + mixed % 100_000)
            };
            let _ = write!(target, "&{word}={:x}%20", mixed % 0xffff);
        }
        target.truncate(length);
        let _ = write!(
            text,
            "GET {target} HTTP/1.1\n\
             Host: mail.example.org\n\
             User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.{number}.0 Safari/537.36\n\
             Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\n\
             Accept-Language: en-US,en;q=0.5\n\
             Accept-Encoding: gzip, deflate, br\n\
             Referer: https://mail.example.org/owa/\n\
             Connection: keep-alive\n\
             Cookie: ClientId={number:032X}; X-OWA-CANARY=qWxk{number:012}; UC={:032x}; PrivateComputer=true\n\n",
            number * 31
        );
    }
    text
}

/// IIS's own form.
pub fn iis(rules: &[Rule]) -> String {
    let mut text = String::from("<rewrite><rules>\n");
    for (number, rule) in rules.iter().enumerate() {
        let input = match rule.variable {
            Variable::Uri => "{REQUEST_URI}",
            Variable::DecodedUri => "{UrlDecode:{REQUEST_URI}}",
            Variable::Cookie => "{HTTP_COOKIE}",
            Variable::UserAgent => "{HTTP_USER_AGENT}",
        };
        let pattern = rule.pattern.replace('&', "&amp;").replace('"', "&quot;");
        let _ = writeln!(
            text,
            "<rule name=\"rule {number}\" stopProcessing=\"true\"><match url=\".*\"/><conditions>\
             <add input=\"{input}\" pattern=\"{pattern}\"/></conditions><action type=\"AbortRequest\"/></rule>"
        );
    }
    text.push_str("</rules></rewrite>\n");
    text
}

/// A line each: the number of the variable, a tab, the pattern.
pub fn lines(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let _ = writeln!(text, "{}\t{}", rule.variable as u8, rule.pattern);
    }
    text
}

/// ModSecurity's own form.
pub fn modsecurity(rules: &[Rule]) -> String {
    let mut text = String::from("SecRuleEngine On\nSecAuditEngine Off\n");
    for (number, rule) in rules.iter().enumerate() {
        let (variable, transformation) = match rule.variable {
            Variable::Uri => ("REQUEST_URI_RAW", "t:none"),
            Variable::DecodedUri => ("REQUEST_URI_RAW", "t:none,t:urlDecode"),
            Variable::Cookie => ("REQUEST_HEADERS:Cookie", "t:none"),
            Variable::UserAgent => ("REQUEST_HEADERS:User-Agent", "t:none"),
        };
        let _ = writeln!(
            text,
            "SecRule {variable} \"@rx (?i){}\" \"id:{},phase:1,{transformation},deny,status:403,nolog,noauditlog\"",
            rule.pattern,
            number + 1
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_differ_and_have_the_length_that_was_asked_for() {
        let text = requests(50, 80);
        let targets: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")).collect();
        let mut distinct = targets.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((targets.len(), distinct.len()), (50, 50));
        assert!(targets.iter().all(|target| target.len() == 80));
        assert!(
            text.split_terminator("\n\n").all(|head| (560..760).contains(&head.len())),
            "{}",
            text.len() / 50
        );
    }

    #[test]
    fn every_form_holds_every_rule() {
        let rules = rules(1_000);
        assert_eq!(lines(&rules).lines().count(), 1_000);
        assert_eq!(iis(&rules).matches("<rule ").count(), 1_000);
        assert_eq!(modsecurity(&rules).matches("SecRule ").count(), 1_000);
    }
}
