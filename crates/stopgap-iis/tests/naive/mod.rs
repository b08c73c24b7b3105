//! A second reading of how IIS merges its configuration, deliberately naive: for every URL level the files
//! from the server down to it are read again from their text, and their sections are laid one after the
//! other. Nothing is cached and nothing is shared with the crate, so that the two can be compared.
//!
//! In: the files of a drive C:, path -> text. Out: for each application, virtual directory and location that
//! a file names, the entries of each collection in their order, and what IIS would answer with an error.
//! Sources stand at the functions; `D` is "Deep Dive into IIS Configuration with IIS 7 and IIS 8", `L` "How to
//! Use Locking in IIS Configuration", `U` "URL Rewrite Module (2.0) Configuration Reference", all Microsoft's,
//! and `S` the schema that the module installs (rewrite_schema.xml).
//!
//! Not here: patterns, actions and values of attributes; sections other than the module's.

pub mod generate;
pub mod sites;
pub mod theirs;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};

use sites::Server;
use tree::{El, Piece};

/// The file of the server's own level.
pub const HOST: &str = "Windows/System32/inetsrv/config/applicationHost.config";

/// Something that IIS refuses at a level: `(code, level, key)`.
pub type Violation = (String, String, String);

/// An entry of a collection, with the file that it stands in.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub file: String,
    el: El,
    /// Place of the file in the chain; locks hold for files further down only.
    depth: usize,
}

/// The collections of a level, by name: `globalRules`, `rules`, `outboundRules`, `preConditions`,
/// `customTags`, `rewriteMaps`, `allowedServerVariables`, `providers`.
pub type Level = BTreeMap<String, Vec<Entry>>;

/// What the files say.
#[derive(Debug, Default)]
pub struct Reading {
    pub levels: BTreeMap<String, Level>,
    pub violations: BTreeSet<Violation>,
    /// Levels whose chain holds the same file twice: `(level, file)`.
    pub twice: BTreeSet<(String, String)>,
}

impl Reading {
    /// One line for each entry and violation, as the golden cases have it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (path, level) in &self.levels {
            out += &format!("[{path}]\n");
            for (collection, entries) in level {
                for entry in entries {
                    out += &format!("{collection}: {} < {}\n", entry.name, entry.file);
                }
            }
            for (code, _, key) in self.violations.iter().filter(|v| v.1 == *path) {
                out += &format!("! {code} {key}\n");
            }
            for (_, file) in self.twice.iter().filter(|t| t.0 == *path) {
                out += &format!("twice: {file}\n");
            }
        }
        out
    }
}

/// In which order the parts that are for one path are laid over each other. Microsoft leaves it open: D, "Locking",
/// "We will not specify here exactly how location tags are evaluated relative to web.config files underneath
/// them". The two part only where a file above has a location for a path and a file between has the section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each file whole, from the server's down: a location "is considered to be at that parent level" (D).
    ByFile,
    /// Each URL level whole, and at one level the outer file first, as .NET's configuration does.
    ByLevel,
}

/// Reads a drive.
pub fn read(files: &BTreeMap<String, String>, order: Order) -> Reading {
    let mut reading = Reading::default();
    let host = files.get(HOST).map(|text| tree::parse(text));
    let Some(Ok(host)) = host else {
        reading.violations.insert(("malformed-xml".into(), String::new(), HOST.into()));
        return reading;
    };
    let server = Server::of(&host);
    let mut levels = server.levels(files);
    // Locations name levels of their own, also those of files that only such a level reads.
    let mut known = 0;
    while known < levels.len() {
        known = levels.len();
        for level in levels.clone() {
            for (at, file) in server.chain(files, &level) {
                let named =
                    tree::pieces(files, &file, &at).unwrap_or_default().into_iter().map(|piece| piece.target);
                for target in named.filter(|target| server.has_site(target)) {
                    if !levels.iter().any(|level| level.eq_ignore_ascii_case(&target)) {
                        levels.insert(target);
                    }
                }
            }
        }
    }
    for level in levels {
        let merged = merge(files, &server, &level, order, &mut reading);
        reading.levels.insert(level, merged);
    }
    reading
}

/// A part that is for a path: the place of its file in the chain, the file, and the level that the file is of.
struct Part {
    depth: usize,
    file: String,
    at: String,
    piece: Piece,
}

fn merge(
    files: &BTreeMap<String, String>,
    server: &Server,
    path: &str,
    order: Order,
    reading: &mut Reading,
) -> Level {
    let chain = server.chain(files, path);
    let mut level = Level::new();
    let mut found: Vec<(String, String)> = vec![];
    let mut parts: Vec<Part> = vec![];
    for (depth, (at, file)) in chain.iter().enumerate() {
        if chain.iter().filter(|(_, other)| other == file).count() > 1 {
            reading.twice.insert((path.into(), file.clone()));
        }
        match tree::pieces(files, file, at) {
            Ok(pieces) => {
                // What is not inherited, is there for the location's own application alone, its locks too (which
                // no text of Microsoft's says).
                let own = |piece: &Piece| server.application(path) == server.application(&piece.target);
                let here = |piece: &Piece| under(path, &piece.target) && (piece.inherit || own(piece));
                let pieces = pieces.into_iter().filter(here);
                parts.extend(pieces.map(|piece| Part { depth, file: file.clone(), at: at.clone(), piece }));
            }
            Err(code) => found.push((code, file.clone())),
        }
    }
    // D: "The order of location tags is of no importance"; the nearer one is laid on top.
    match order {
        Order::ByFile => parts.sort_by_key(|part| (part.depth, segments(&part.piece.target))),
        Order::ByLevel => parts.sort_by_key(|part| (segments(&part.piece.target), part.depth)),
    }
    for (n, part) in parts.iter().enumerate() {
        let Part { depth, file, at, piece } = part;
        let section = piece.section.clone();
        // U: global rules stand at the server and work there alone.
        if piece.target.is_empty() && section == "globalRules" && !path.is_empty() {
            continue;
        }
        // The error that IIS words as "Sections must only appear once per config file"; L for `.`.
        let twin = |other: &Part| {
            other.depth == *depth
                && other.piece.section == section
                && same(&other.piece.target, &piece.target)
        };
        if parts[..n].iter().any(twin) {
            found.push(("duplicate-section".into(), section));
            continue;
        }
        if piece.both_modes {
            found.push(("override-mode-twice".into(), section.clone()));
        }
        let Some(definition) = server.definitions.get(&section) else {
            found.push(("unknown-section".into(), section));
            continue;
        };
        // Locks of the files above, on what this part is for.
        let locks = |other: &&Part| {
            other.depth < *depth
                && other.piece.section == section
                && under(&piece.target, &other.piece.target)
        };
        let mut above: Vec<&Part> = parts.iter().filter(locks).collect();
        // Whatever the order of the rules: a file can lock what one above it has unlocked, and not the reverse.
        above.sort_by_key(|part| (part.depth, segments(&part.piece.target)));
        let above: Vec<&Piece> = above.into_iter().map(|part| &part.piece).collect();
        if !definition.allowed_in(server, at, &piece.target) {
            found.push(("wrong-level".into(), section));
        } else if *depth > 0 && !allowed(definition.allow, &above) {
            found.push(("locked-section".into(), section));
        } else {
            match &piece.body {
                Ok((body, source)) => {
                    let file = source.as_ref().unwrap_or(file);
                    lay(&mut level, &above, piece, body, file, *depth, &mut found);
                }
                Err(code) => found.push((code.clone(), section)),
            }
        }
    }
    references(&level, &mut found);
    level.retain(|_, entries| !entries.is_empty());
    reading.violations.extend(found.into_iter().map(|(code, key)| (code, path.to_owned(), key)));
    level
}

/// D, "Locking": `Inherit` walks up to the definition; only files above can lock or unlock. L, "Summary": lockItem
/// on a section locks it whole.
fn allowed(default: bool, above: &[&Piece]) -> bool {
    above.iter().fold(default, |mode, lock| {
        let item = lock.body.as_ref().is_ok_and(|(body, _)| body.attr("lockItem").is_some_and(is_true));
        if item { false } else { lock.mode.unwrap_or(mode) }
    })
}

/// Lays one section over what the levels above gave.
fn lay(
    level: &mut Level,
    locks_above: &[&Piece],
    piece: &Piece,
    body: &El,
    file: &str,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    let section = piece.section.as_str();
    // S: the names of the elements that add to each collection, and the elements beside them.
    let (adds, beside): (&str, &[(&str, &str)]) = match section {
        "globalRules" | "rules" => ("rule", &[]),
        "outboundRules" => ("rule", &[("preConditions", "preCondition"), ("customTags", "tags")]),
        "rewriteMaps" => ("rewriteMap", &[]),
        "providers" => ("provider", &[]),
        "allowedServerVariables" => ("add", &[]),
        _ => return found.push(("unknown-section".into(), section.into())),
    };
    let above = |collection: &str| -> Vec<&El> {
        let bodies = locks_above.iter().filter_map(|p| p.body.as_ref().ok()).map(|(body, _)| body);
        if collection == section {
            bodies.collect()
        } else {
            bodies.filter_map(|b| b.child(collection)).collect()
        }
    };
    collect(level, &above(section), section, adds, body, beside, file, depth, found);
    for (collection, adds) in beside {
        for (n, inner) in body.children.iter().filter(|c| c.name == *collection).enumerate() {
            if n > 0 || above(section).iter().any(|lock| locks(lock, collection)) {
                found.push((
                    if n > 0 { "duplicate-element" } else { "locked-element" }.into(),
                    (*collection).into(),
                ));
                continue;
            }
            collect(level, &above(collection), collection, adds, inner, &[], file, depth, found);
        }
    }
}

/// L, tasks 2 to 4: whether an element of a file above locks a directive or element by name.
fn locks(el: &El, name: &str) -> bool {
    let list = |attribute: &str| {
        el.attr(attribute).map(|v| v.split(',').map(|n| n.trim().to_owned()).collect::<Vec<_>>())
    };
    list("lockElements").is_some_and(|names| names.iter().any(|n| n == name || n == "*"))
        || list("lockAllElementsExcept").is_some_and(|names| !names.iter().any(|n| n == name))
}

#[allow(clippy::too_many_arguments, reason = "a loop with all that it touches, written out")]
fn collect(
    level: &mut Level,
    above: &[&El],
    collection: &str,
    adds: &str,
    body: &El,
    beside: &[(&str, &str)],
    file: &str,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    let entries = level.entry(collection.to_owned()).or_default();
    let locked = |entry: &Entry| entry.depth < depth && entry.el.attr("lockItem").is_some_and(is_true);
    for child in &body.children {
        let name = child.attr("name").unwrap_or_default();
        let key = format!("{collection} {name}");
        if beside.iter().any(|(element, _)| *element == child.name) {
            continue;
        }
        let known = child.name == adds || child.name == "clear" || child.name == "remove";
        if known && above.iter().any(|lock| locks(lock, &child.name)) {
            found.push(("locked-element".into(), format!("{collection} {}", child.name)));
        } else if child.name == "clear" {
            // L, task 5: "The collection cannot be cleared, because clearing means removing all".
            if entries.iter().any(locked) {
                found.push(("locked-item".into(), format!("{collection} clear")));
            } else {
                entries.clear();
            }
        } else if child.name == "remove" {
            // Nothing of that name: nothing happens, as with `<remove name="WebDAV"/>` on a server without it.
            match entries.iter().position(|entry| same(&entry.name, name)) {
                Some(n) if locked(&entries[n]) => found.push(("locked-item".into(), key)),
                Some(n) => drop(entries.remove(n)),
                None => {}
            }
        } else if child.name != adds {
            found.push(("unknown-element".into(), format!("{collection} {}", child.name)));
        } else if child.attr("name").is_none() {
            found.push(("missing-attribute".into(), key));
        } else if entries.iter().any(|entry| same(&entry.name, name)) {
            found.push(("duplicate-key".into(), key));
        } else {
            inner_keys(collection, child, &key, found);
            entries.push(Entry { name: name.into(), file: file.into(), el: child.clone(), depth });
        }
    }
}

/// S: unique keys within an entry. Conditions have the combination of all their attributes for a key, but not
/// those of `rules`; the keys of a map are the only ones that know upper and lower case.
fn inner_keys(collection: &str, el: &El, key: &str, found: &mut Vec<(String, String)>) {
    let mut check = |inner: &El, add: &str, attributes: &[(&str, &str)], case: bool| {
        let mut seen: Vec<Vec<String>> = vec![];
        for child in &inner.children {
            let value = |(name, default): &(&str, &str)| {
                let value = child.attr(name).unwrap_or(default).to_owned();
                if case { value } else { value.to_lowercase() }
            };
            let values: Vec<String> = attributes.iter().map(value).collect();
            if child.name == "clear" && collection == "rewriteMaps" {
                seen.clear();
            } else if child.name == "remove" && collection == "rewriteMaps" {
                seen.retain(|other| *other != values);
            } else if child.name != add {
                found.push(("unknown-element".into(), format!("{key} {}", child.name)));
            } else if seen.contains(&values) {
                found.push(("duplicate-key".into(), format!("{key} {}", values.join(" "))));
            } else {
                seen.push(values);
            }
        }
    };
    let condition = [
        ("input", ""),
        ("matchType", "pattern"),
        ("pattern", ""),
        ("ignoreCase", "true"),
        ("negate", "false"),
    ];
    match collection {
        "rewriteMaps" => check(el, "add", &[("key", "")], true),
        "preConditions" => check(el, "add", &condition, false),
        "globalRules" | "outboundRules" => {
            el.child("conditions").into_iter().for_each(|c| check(c, "add", &condition, false));
        }
        _ => {}
    }
    if matches!(collection, "globalRules" | "rules") {
        el.child("serverVariables").into_iter().for_each(|c| check(c, "set", &[("name", "")], false));
    }
}

/// What one entry says of another.
fn references(level: &Level, found: &mut Vec<(String, String)>) {
    let has = |collection: &str, name: &str| {
        level.get(collection).is_some_and(|entries| entries.iter().any(|entry| same(&entry.name, name)))
    };
    for rule in level.get("outboundRules").into_iter().flatten() {
        let name = rule.el.attr("preCondition").unwrap_or_default();
        if !name.is_empty() && !has("preConditions", name) {
            found.push(("unknown-precondition".into(), format!("outboundRules {}", rule.name)));
        }
    }
    // U, "Allowed Server Variables List": global rules may set what they like, distributed rules what is listed.
    for rule in level.get("rules").into_iter().flatten() {
        for set in rule.el.child("serverVariables").into_iter().flat_map(|v| &v.children) {
            let name = set.attr("name").unwrap_or_default();
            if set.name == "set" && !has("allowedServerVariables", name) {
                found.push(("server-variable-not-allowed".into(), format!("rules {} {name}", rule.name)));
            }
        }
    }
}

/// S: keys are compared without regard to case, but for `caseSensitive="true"`.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

pub fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value == "1"
}

fn segments(path: &str) -> usize {
    path.split('/').filter(|s| !s.is_empty()).count()
}

/// Whether `path` is `ancestor` or below it.
pub fn under(path: &str, ancestor: &str) -> bool {
    let split = |p: &str| p.split('/').filter(|s| !s.is_empty()).map(str::to_lowercase).collect::<Vec<_>>();
    split(path).starts_with(&split(ancestor))
}
