//! The path as `match url` sees it: what http.sys does to a URL before any module runs.

use super::text;
use crate::function::percent;
use std::borrow::Cow;

/// Decodes once, then resolves backslashes, empty and dot segments. The order matters: `%2e%2e%5c` is `../`.
pub(super) fn decoded(raw: &[u8]) -> Cow<'_, str> {
    let plain = text(percent::decode(raw));
    if !needs_work(&plain) {
        return plain;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut folder = false;
    for segment in plain.split(['/', '\\']) {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let mut path = String::with_capacity(plain.len() + 1);
    for segment in &kept {
        path.push('/');
        path.push_str(segment);
    }
    // A path that ended in a slash, or in a dot segment, names a folder and keeps its slash.
    if folder || kept.is_empty() {
        path.push('/');
    }
    Cow::Owned(path)
}

fn needs_work(path: &str) -> bool {
    let bytes = path.as_bytes();
    !path.starts_with('/')
        || bytes.contains(&b'\\')
        || bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn paths_are_decoded_once_and_resolved() {
        for (raw, seen) in [
            ("/a/b", "/a/b"),
            ("/%61%2Fb", "/a/b"),
            ("/%2561", "/%61"),
            ("/a%zz%4", "/a%zz%4"),
            ("//a///b", "/a/b"),
            ("/a\\b%5cc", "/a/b/c"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2e/c", "/c"),
            ("/../../c", "/c"),
            ("/a/b/..", "/a/"),
            ("/a/", "/a/"),
            ("/.hidden", "/.hidden"),
            ("", "/"),
            ("/%C3%A9%ff", "/\u{e9}\u{fffd}"),
            ("/a+b", "/a+b"),
        ] {
            assert_eq!(decoded(raw.as_bytes()), seen, "{raw}");
        }
    }
}
