//! Which files an include names.

/// Whether a path matches, as glob(3) without flags: `*` and `?` stop at `/` and at a leading dot.
pub(crate) fn glob(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut paths) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), paths.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if segment(pattern.as_bytes(), name.as_bytes(), true) => (),
            _ => return false,
        }
    }
}

fn segment(pattern: &[u8], name: &[u8], start: bool) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*' | b'?' | b'[', _)), Some((b'.', _))) if start => false,
        (Some((b'*', rest)), Some((_, names))) => {
            segment(rest, name, false) || segment(pattern, names, false)
        }
        (Some((b'*', rest)), None) => segment(rest, name, false),
        (Some((b'?', rest)), Some((_, names))) => segment(rest, names, false),
        (Some((b'[', rest)), Some((&c, names))) => match class(rest, c) {
            Some((holds, rest)) => holds && segment(rest, names, false),
            None => c == b'[' && segment(rest, names, false),
        },
        (Some((p, rest)), Some((c, names))) => p == c && segment(rest, names, false),
        _ => false,
    }
}

/// `[abc]`, `[a-z]`, `[!a]`: whether `c` is in it, and what follows. `None`: it does not end.
fn class(body: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let end = body.iter().skip(1).position(|&b| b == b']')? + 1;
    let (inner, rest) = (body.get(..end)?, body.get(end + 1..)?);
    let (negated, inner) = match inner.split_first() {
        Some((b'!' | b'^', inner)) => (true, inner),
        _ => (false, inner),
    };
    let range = inner.windows(3).any(|w| matches!(w, [low, b'-', high] if (*low..=*high).contains(&c)));
    Some(((range || inner.contains(&c)) != negated, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_those_of_the_c_library() {
        for (pattern, path, expected) in [
            ("/e/*.conf", "/e/a.conf", true),
            ("/e/*.conf", "/e/.a.conf", false),
            ("/e/*", "/e/a/b", false),
            ("/e/*/x", "/e/a/x", true),
            ("/e/?b[0-9].c", "/e/ab7.c", true),
            ("/e/?b[!0-9].c", "/e/ab7.c", false),
            ("/e/[!a]b", "/e/cb", true),
            ("/e/server*.conf", "/e/server.conf", true),
            ("/e/a", "/e/a", true),
            ("/e/a", "/e/ab", false),
        ] {
            assert_eq!(glob(pattern, path), expected, "{pattern} {path}");
        }
    }
}
