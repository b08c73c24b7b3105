//! What a rule reads, told from its text alone: for whoever has a part of a request only, such as a line of a log.

/// The server variables that an input, an address or a value names, at any depth of braces: in capitals, a header
/// with underscores (`HTTP_X_NAME`). Functions, maps and back-references are none. An input that nobody can parse
/// names what its closed braces name.
pub fn variables(template: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    // A variable's braces hold a name and no colon; the last `{` before a `}` opens what it closes.
    for piece in template.split('}') {
        let Some((_, name)) = piece.rsplit_once('{') else { continue };
        if name.is_empty() || name.contains(':') {
            continue;
        }
        let name = name.to_ascii_uppercase();
        let name = if name.starts_with("HTTP_") { name.replace('-', "_") } else { name };
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Whether it holds a back-reference to the rule's conditions (`{C:1}`).
pub fn refers_to_conditions(template: &str) -> bool {
    template.contains("{C:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_at_any_depth_and_nothing_else_is() {
        for (template, expected) in [
            ("{REQUEST_URI}", &["REQUEST_URI"][..]),
            ("{UrlDecode:{request_uri}}", &["REQUEST_URI"]),
            ("{ToLower:{UrlDecode:{HTTP_X-Name}}}{QUERY_STRING}", &["HTTP_X_NAME", "QUERY_STRING"]),
            ("{Known:{HTTP_COOKIE}}{R:1}{C:0} {HTTP_COOKIE}", &["HTTP_COOKIE"]),
            ("{Map:HTTP_COOKIE}", &[]),
            ("plain } text {", &[]),
            ("", &[]),
        ] {
            assert_eq!(variables(template), expected, "{template}");
        }
        assert!(refers_to_conditions("a{Map:{C:1}}"));
        assert!(!refers_to_conditions("{R:1}{REQUEST_URI}"));
    }
}
