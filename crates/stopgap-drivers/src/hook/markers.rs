//! Placing what makes a server read our rules in the operator's files: between markers, so that it is cut out
//! again to the byte.

pub(crate) const BEGIN: &str = "# BEGIN Stopgap";
/// In place of [`BEGIN`] where a line had to be broken for it.
const BEGIN_SPLIT: &str = "# BEGIN Stopgap (breaks this line)";
pub(crate) const END: &str = "# END Stopgap";

/// Inserts `line` (or several) between our markers as the first thing in each block that opens just before one
/// of `places` (offsets behind a `{`, or at the end of a line that opens one).
pub fn insert(text: &str, line: &str, places: &[usize]) -> String {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    let mut made = text.to_owned();
    // From the last, so that the offsets before it stay true.
    for place in places.into_iter().rev() {
        let Some((before, after)) = text.split_at_checked(place) else { continue };
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let opening = before.rsplit('\n').next().unwrap_or_default();
        let indent: String = opening.chars().take_while(|c| *c == ' ' || *c == '\t').collect();
        let indent = format!("{indent}{}", if indent.starts_with('\t') { "\t" } else { "    " });
        let (rest, _) = after.split_once('\n').unwrap_or((after, ""));
        let alone = after.contains('\n') && (rest.trim().is_empty() || rest.trim_start().starts_with('#'));
        let line: String = line.lines().map(|line| format!("{indent}{line}{newline}")).collect();
        let lines = |begin: &str| format!("{indent}{begin}{newline}{line}{indent}{END}{newline}");
        if alone {
            made.insert_str(place + rest.len() + 1, &lines(BEGIN));
        } else {
            made.insert_str(place, &format!("{newline}{}", lines(BEGIN_SPLIT)));
        }
    }
    made
}

/// Cuts everything between our markers out again. A marker without its other half is left alone.
pub fn remove(text: &str) -> String {
    let mut kept = String::new();
    let mut held = String::new();
    let mut split = false;
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        if held.is_empty() && (word == BEGIN || word == BEGIN_SPLIT) {
            split = word == BEGIN_SPLIT;
            held.push_str(line);
        } else if held.is_empty() {
            kept.push_str(line);
        } else if word == END {
            held.clear();
            if split {
                let cut = kept.strip_suffix("\r\n").or(kept.strip_suffix('\n')).map(str::len);
                kept.truncate(cut.unwrap_or(kept.len()));
            }
        } else {
            held.push_str(line);
        }
    }
    kept + &held
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "include /d/live/server*.conf;";

    /// Behind the brace of every server block of the text.
    fn places(text: &str) -> Vec<usize> {
        text.match_indices("server {").map(|(at, found)| at + found.len()).collect()
    }

    #[test]
    fn what_is_inserted_is_cut_out_again_to_the_byte() {
        for text in [
            "server {\n    listen 80;\n}\n",
            "http {\n\tserver { # main\n\t\tlisten 80;\n\t}\n\tserver {\n\t}\n}",
            "server {\r\n  listen 80;\r\n}\r\n",
            "server { listen 80; }",
            "server { listen 80; } server { listen 81; }\n",
            "server {}\n",
            "server {\n\n\n}",
            "server { listen 80;\n}\n# END Stopgap\n",
        ] {
            let made = insert(text, LINE, &places(text));
            assert_eq!(made.matches(LINE).count(), places(text).len(), "{made}");
            assert_eq!(remove(&made), text);
        }
    }

    #[test]
    fn it_stands_at_the_start_of_the_block() {
        assert_eq!(
            insert("  server {\n    listen 80;\n  }\n", LINE, &[10]),
            "  server {\n      # BEGIN Stopgap\n      include /d/live/server*.conf;\n      # END Stopgap\n    listen 80;\n  }\n"
        );
        assert_eq!(
            insert("server { listen 80; }", LINE, &[8]),
            "server {\n    # BEGIN Stopgap (breaks this line)\n    include /d/live/server*.conf;\n    # END Stopgap\n listen 80; }"
        );
    }

    #[test]
    fn a_marker_without_its_other_half_is_left_alone() {
        for text in ["a\n# BEGIN Stopgap\nb\n", "# END Stopgap\n", "x"] {
            assert_eq!(remove(text), text);
        }
    }
}
