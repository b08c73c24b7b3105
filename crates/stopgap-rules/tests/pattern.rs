//! ECMAScript patterns: what is refused, what is bounded, and the corners of the language by name.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use stopgap_rules::pattern::{Budget, OverLimit, Pattern, PatternLimits};

fn found(pattern: &str, text: &str) -> bool {
    let pattern = Pattern::compile(pattern, true, &PatternLimits::default()).unwrap();
    pattern.is_match(text, &mut Budget::new(100_000)).unwrap()
}

fn code(pattern: &str) -> &'static str {
    match Pattern::compile(pattern, false, &PatternLimits::default()) {
        Ok(_) => "accepted",
        Err(error) => error.code(),
    }
}

#[test]
fn the_corners_of_ecmascript() {
    for (pattern, text, expected) in [
        ("^[^]$", "\n", true),
        ("[]", "a", false),
        (r"^\cj$", "\n", true),
        (r"^\c!$", "\\c!", true),
        (r"^\u0041\x42\103\0$", "abc\0", true),
        (r"^\u{3}$", "uuu", true),
        ("^x{,3}$", "x{,3}", true),
        ("^a{$", "a{", true),
        ("^]}$", "]}", true),
        (r"^\@\-\/$", "@-/", true),
        (r"^[\b]$", "\u{8}", true),
        ("^[a&&b]+$", "a&b", true),
        ("^[[:alpha:]]$", "a]", true),
        ("^[a~~b-]+$", "a~b-", true),
        (r"^\A\Z$", "AZ", true),
        ("a$", "a\n", false),
        (".", "\u{2028}", false),
        ("^.$", "\u{85}", true),
        (r"^\s$", "\u{feff}", true),
        (r"\d", "\u{663}", false),
        (r"\w", "é", false),
        (r"\bé", "é", false),
        ("k", "\u{212a}", false),
        ("s", "\u{17f}", false),
        ("É", "é", true),
        ("ß", "SS", false),
        (r"^(?:(a)|b)*\1$", "ab", true),
        (r"^\1(a)$", "a", true),
        (r"^(a)\2$", "a\u{2}", true),
        (r"^(?=(a+))a*b\1$", "aaba", false),
        (r"^(.*?)a(?!(a+)b\2c)\2(.*)$", "baaabaac", true),
        (r"^(é)\1$", "éÉ", true),
        ("^.$", "😀", true),
        (r"^\ud83d\ude00$", "😀", true),
        (r"\ud83d", "😀", false),
    ] {
        assert_eq!(found(pattern, text), expected, "/{pattern}/ {text:?}");
    }
}

/// A repetition of a repetition was once printed for the `regex` crate as a lazy one: `(?:a+)?` as `a+?`.
#[test]
fn a_repetition_of_a_repetition_stays_one() {
    for (pattern, text, expected) in [
        ("^x(?:a+)?y$", "xy", true),
        ("^(?:a{2})?$", "", true),
        ("^(?:a{2}){2}$", "aaaa", true),
        ("^(?:(?:a?)+)?b$", "b", true),
        ("^(?:a*)?$", "aa", true),
    ] {
        assert_eq!(found(pattern, text), expected, "/{pattern}/ {text:?}");
    }
    let pattern = Pattern::compile("(?:.+)?", false, &PatternLimits::default()).unwrap();
    assert_eq!(pattern.captures("abc", &mut Budget::new(0)).unwrap().unwrap(), [Some(0..3)]);
}

#[test]
fn a_repeated_group_forgets_what_it_took() {
    let pattern = Pattern::compile("(z)((a+)?(b+)?(c))*", false, &PatternLimits::default()).unwrap();
    let groups = pattern.captures("zaacbbbcac", &mut Budget::new(1_000)).unwrap().unwrap();
    // The example of ECMA-262, section 22.2.2.3.1.
    assert_eq!(groups, [Some(0..10), Some(0..1), Some(8..10), Some(8..9), None, Some(9..10)]);
}

#[test]
fn each_refusal_has_its_own_code() {
    let deep = format!("{}{}", "(?:".repeat(60), ")".repeat(60));
    for (pattern, expected) in [
        ("(", "pattern-syntax"),
        (")", "pattern-syntax"),
        ("[a", "pattern-syntax"),
        ("[b-a]", "pattern-syntax"),
        ("a**", "pattern-syntax"),
        ("^*", "pattern-syntax"),
        (r"\b+", "pattern-syntax"),
        ("{1}", "pattern-syntax"),
        ("a{2,1}", "pattern-syntax"),
        ("\\", "pattern-syntax"),
        ("(?a)", "pattern-syntax"),
        ("(?>a)", "pattern-syntax"),
        ("(?=a)*", "accepted"),
        ("(?<=a)b", "pattern-look-behind"),
        ("(?<!a)b", "pattern-look-behind"),
        ("(?<a>b)", "pattern-named-group"),
        (&"(a)".repeat(100), "pattern-too-many-groups"),
        (&"a".repeat(4_097), "pattern-too-long"),
        (&deep, "pattern-too-deep"),
        ("(?:a{200}){200}", "pattern-too-large"),
        ("a{4294967295}", "pattern-too-large"),
        ("a{99999999999999999999}", "pattern-too-large"),
        ("((((a{99}){99}){99}){99})", "pattern-too-large"),
    ] {
        assert_eq!(code(pattern), expected, "{pattern:.40}");
    }
}

/// What brings a backtracking engine down costs a few steps an input character here, or none.
#[test]
fn catastrophic_patterns_without_back_references_are_linear() {
    let text = "a".repeat(8_192);
    for pattern in [
        "^(a+)+$",
        "(a|aa)+b",
        "(a*)*b",
        "(?=(?:a|aa)+b)c",
        "^(?!(?:a|a)+b).*(?=(?:a+)+b)",
        "(?=.*x)(?=.*y)",
        "(?:(?=a*b)a)+c",
        "(?=.*a.*b.*c)a.*(?=d)",
        "(?=a.*b)(?=.*c)|(?!a)b",
        "a*(?=a*b)",
    ] {
        let compiled = Pattern::compile(pattern, true, &PatternLimits::default()).unwrap();
        let mut budget = Budget::new(60 * 8_192);
        let found = compiled.is_match(&format!("{text}!"), &mut budget);
        assert_eq!(found, Ok(false), "{pattern}: {} steps left", budget.left());
    }
}

#[test]
fn back_references_and_empty_repetitions_end_at_the_limit() {
    for (pattern, text) in [
        (r"^(a+)+\1$", format!("{}!", "a".repeat(60))),
        (r"(a*)*(a*)*(?=b)\1c", "a".repeat(8_192)),
        ("(?:(?:a?)*?)*(?=b)c", "a".repeat(8_192)),
        (r"(.*)(.*)(.*)(.*)\1\2\3\4x", "ab".repeat(4_096)),
    ] {
        let compiled = Pattern::compile(pattern, true, &PatternLimits::default()).unwrap();
        let mut budget = Budget::new(1_000_000);
        assert_eq!(compiled.is_match(&text, &mut budget), Err(OverLimit), "{pattern}");
        assert_eq!(compiled.captures(&text, &mut Budget::new(1_000_000)), Err(OverLimit), "{pattern}");
    }
}

/// A step is about the same work whatever it does: a capture can be as long as the text.
#[test]
fn what_a_back_reference_compares_is_counted() {
    for ignore_case in [false, true] {
        let pattern =
            Pattern::compile(r"^(a{1000})(?:\1){8}$", ignore_case, &PatternLimits::default()).unwrap();
        let text = "a".repeat(9_000);
        assert_eq!(pattern.is_match(&text, &mut Budget::new(20_000)), Ok(true));
        assert_eq!(pattern.is_match(&text, &mut Budget::new(8_000)), Err(OverLimit));
    }
}

/// Every character of the basic plane, asked of V8: sets and case folding.
#[test]
fn sets_and_folding_are_those_of_a_browser() {
    const PATTERNS: [&str; 30] = [
        "s",
        "k",
        "S",
        r"\w",
        r"\W",
        r"[^\W]",
        r"[\W]",
        r"\d",
        r"\D",
        r"\s",
        r"\S",
        ".",
        "[^]",
        "[a-z]",
        "[^a-z]",
        "[A-z]",
        r"\u017f",
        r"\u212a",
        "[é-ÿ]",
        "[^é]",
        "ß",
        "µ",
        "ǆ",
        "İ",
        "ı",
        "ς",
        "ﬁ",
        r"[\u0100-\u024f]",
        "[^Ā-ɏ]",
        r"[\s\u1e9e]",
    ];
    let script = r#"
        for (const flags of ["", "i"]) for (const pattern of JSON.parse(process.argv[1])) {
            const regex = new RegExp("^(?:" + pattern + ")$", flags);
            const found = [];
            for (let c = 0; c < 0x10000; c++)
                if ((c < 0xD800 || c > 0xDFFF) && regex.test(String.fromCharCode(c))) found.push(c);
            console.log(found.join(" "));
        }"#;
    let patterns = serde_json::to_string(&PATTERNS).unwrap();
    let Ok(output) = std::process::Command::new("node").args(["-e", script, &patterns]).output() else {
        assert!(std::env::var_os("CI").is_none(), "node is not installed");
        println!("skipped (no node): sets_and_folding_are_those_of_a_browser");
        return;
    };
    let answer = String::from_utf8(output.stdout).unwrap();
    let mut lines = answer.lines();
    for ignore_case in [false, true] {
        for text in PATTERNS {
            let pattern =
                Pattern::compile(&format!("^(?:{text})$"), ignore_case, &PatternLimits::default()).unwrap();
            let mut budget = Budget::new(0);
            let found: Vec<String> = ('\0'..='\u{ffff}')
                .filter(|c| pattern.is_match(c.encode_utf8(&mut [0; 4]), &mut budget).unwrap())
                .map(|c| u32::from(c).to_string())
                .collect();
            let expected = lines.next().unwrap();
            assert!(
                found.join(" ") == expected,
                "/{text}/ ignore case {ignore_case}: {} characters",
                found.len()
            );
        }
    }
}
