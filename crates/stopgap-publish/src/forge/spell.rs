//! How each mutation spells a request.

use super::{Mutation, PLACES, Parts};

pub(super) fn spell(parts: &Parts<'_>, mutation: Mutation) -> Vec<String> {
    let target = parts.target();
    let with = |targets: Vec<String>| targets.iter().map(|target| parts.with_target(target)).collect();
    let in_path = |from: &str, to: &str| with(replace(parts, from, to));
    match mutation {
        Mutation::PercentLetter => with(encode(&target, |c| c.is_ascii_alphanumeric(), percent)),
        Mutation::PercentPunctuation => with(encode(&target, is_mark, percent)),
        Mutation::PercentSlash => {
            let Some(rest) = target.strip_prefix('/') else { return Vec::new() };
            with(encode(rest, |c| c == '/', percent).iter().map(|rest| format!("/{rest}")).collect())
        }
        Mutation::PercentTwice => {
            let twice = |c: char| percent(c).replace('%', "%25");
            let mut targets = vec![target.replace('%', "%25")];
            targets.extend(encode(&target, |c| c.is_ascii_alphanumeric(), twice));
            let all = targets.last().map(|last| encode_triplets(last));
            targets.extend(all);
            with(targets)
        }
        Mutation::Case => with(vec![target.to_uppercase(), target.to_lowercase(), alternate(&target)]),
        Mutation::DoubleSlash => in_path("/", "//"),
        Mutation::DotSegment => in_path("/", "/./"),
        Mutation::ParentSegment => in_path("/", "/x/../"),
        Mutation::Backslash => with(behind_first(replace(parts, "/", "\\"))),
        Mutation::PathParameter => {
            let mut targets = behind_first(replace(parts, "/", ";a=b/"));
            targets.push(join(&format!("{};a=b", parts.path), parts.query));
            with(targets.into_iter().filter(|target| target.starts_with('/')).collect())
        }
        Mutation::QueryPadding => with(match parts.query {
            Some(query) => {
                vec![format!("{}?a=b&{query}", parts.path), format!("{}?{query}&a=b", parts.path)]
            }
            None => vec![format!("{}?a=b", parts.path)],
        }),
        Mutation::QueryFirst => with(match parts.query {
            Some(query) => {
                vec![format!("/{}?{}", query.trim_start_matches('/'), parts.path.trim_start_matches('/'))]
            }
            None => Vec::new(),
        }),
        Mutation::LineFeed => with(match parts.query {
            Some(query) => {
                let mut targets = vec![format!("{}?%0a{query}", parts.path)];
                targets.extend(each(query, "&", "&%0a").iter().map(|query| join(parts.path, Some(query))));
                targets
            }
            None => vec![format!("{}?%0a", parts.path)],
        }),
        Mutation::AbsoluteForm => {
            let host = parts.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
            let host = host.map_or("www.example.org", |(_, value)| value);
            with(vec![format!("http://{host}{target}")])
        }
        Mutation::Method => ["POST", "GET", "HEAD", "PUT", "OPTIONS", "STOPGAP"]
            .iter()
            .map(|method| parts.write(method, &target, plain(parts)))
            .collect(),
        Mutation::HeaderNameCase => vec![
            headers(parts, |name, value| format!("{}: {value}", name.to_uppercase())),
            headers(parts, |name, value| format!("{}: {value}", name.to_lowercase())),
        ],
        Mutation::HeaderValueCase => vec![
            headers(parts, |name, value| format!("{name}: {}", value.to_uppercase())),
            headers(parts, |name, value| format!("{name}: {}", value.to_lowercase())),
        ],
        Mutation::HeaderBlanks => vec![
            headers(parts, |name, value| format!("{name}:{value}")),
            headers(parts, |name, value| format!("{name}:\t {value} ")),
        ],
        Mutation::HeaderRepeat => repeat(parts),
    }
}

fn percent(character: char) -> String {
    let mut octets = [0; 4];
    character.encode_utf8(&mut octets).bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// Marks that do not structure an address.
fn is_mark(character: char) -> bool {
    !character.is_ascii_alphanumeric() && !matches!(character, '/' | '?' | '&' | '=' | '#' | '%' | ';' | '+')
}

/// Characters of an address; a percent form is one. The flag says that it is.
fn atoms(text: &str) -> Vec<(&str, bool)> {
    let mut atoms = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        let triplet = first == '%' && hex(1) && hex(2);
        let (atom, next) = rest.split_at(if triplet { 3 } else { first.len_utf8() });
        atoms.push((atom, triplet));
        rest = next;
    }
    atoms
}

/// Each character that `which` takes in its other form by itself, then all.
fn encode(text: &str, which: impl Fn(char) -> bool, form: impl Fn(char) -> String) -> Vec<String> {
    let atoms = atoms(text);
    let takes = |(atom, triplet): &(&str, bool)| !triplet && atom.chars().all(&which);
    let build = |chosen: &dyn Fn(usize) -> bool| -> String {
        let spelled = atoms.iter().enumerate().map(|(at, atom)| {
            if takes(atom) && chosen(at) { atom.0.chars().map(&form).collect() } else { atom.0.to_owned() }
        });
        spelled.collect()
    };
    let places = atoms.iter().enumerate().filter(|(_, atom)| takes(atom)).map(|(at, _)| at).take(PLACES);
    let mut made: Vec<String> = places.map(|place| build(&|at| at == place)).collect();
    made.push(build(&|_| true));
    made
}

/// Every percent form that is not one of a percent sign, once more.
fn encode_triplets(text: &str) -> String {
    let again = |(atom, triplet): (&str, bool)| match atom.strip_prefix('%') {
        Some(digits) if triplet && digits != "25" => format!("%25{digits}"),
        _ => atom.to_owned(),
    };
    atoms(text).into_iter().map(again).collect()
}

fn alternate(text: &str) -> String {
    let case =
        |(at, c): (usize, char)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().enumerate().map(case).collect()
}

fn join(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Addresses in whose path one place, and then every place, is spelled differently.
fn replace(parts: &Parts<'_>, from: &str, to: &str) -> Vec<String> {
    let mut paths = each(parts.path, from, to);
    paths.push(parts.path.replace(from, to));
    paths.iter().map(|path| join(path, parts.query)).collect()
}

/// One place at a time.
fn each(text: &str, from: &str, to: &str) -> Vec<String> {
    let spelled = |(at, found): (usize, &str)| {
        let (before, rest) = text.split_at(at);
        format!("{before}{to}{}", rest.get(found.len()..).unwrap_or_default())
    };
    text.match_indices(from).take(PLACES).map(spelled).collect()
}

/// An address begins with a slash whatever becomes of the others.
fn behind_first(targets: Vec<String>) -> Vec<String> {
    let mend = |target: String| match target.strip_prefix('\\') {
        Some(rest) => format!("/{rest}"),
        None => target.strip_prefix(";a=b").map_or(target.clone(), str::to_owned),
    };
    targets.into_iter().map(mend).collect()
}

fn plain<'a>(parts: &'a Parts<'_>) -> impl Iterator<Item = String> + 'a {
    parts.headers.iter().map(|(name, value)| format!("{name}: {value}"))
}

fn headers(parts: &Parts<'_>, spell: impl Fn(&str, &str) -> String) -> String {
    parts.write(parts.method, &parts.target(), parts.headers.iter().map(|(name, value)| spell(name, value)))
}

/// A second header of these names makes another request of it, or none.
const ONCE: [&str; 3] = ["host", "content-length", "transfer-encoding"];

fn repeat(parts: &Parts<'_>) -> Vec<String> {
    let mut made = Vec::new();
    for (name, _) in parts.headers.iter().take(PLACES) {
        if ONCE.iter().any(|once| once.eq_ignore_ascii_case(name)) {
            continue;
        }
        let harmless = format!("{name}: stopgap=1");
        let one = |before: bool| {
            let lines = parts.headers.iter().map(|(other, value)| {
                let line = format!("{other}: {value}");
                match (other == name, before) {
                    (true, true) => format!("{harmless}\r\n{line}"),
                    (true, false) => format!("{line}\r\n{harmless}"),
                    (false, _) => line,
                }
            });
            parts.write(parts.method, &parts.target(), lines)
        };
        made.extend([one(true), one(false)]);
    }
    made
}
