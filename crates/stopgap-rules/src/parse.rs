//! XML to model: `<rewrite>`, one of its sections, or a whole `web.config`; one text, or the texts of several
//! levels, parent first.
//!
//! Strict: an element or attribute that this build does not know is an error that names it, its place and
//! what is allowed there, because a rule that is half understood is a hole. What is known but not built
//! (providers, sections that name sites) is refused by name. What is allowed where, and the defaults, are
//! those of the schema that the module brings (`rewrite_schema.xml`).

mod collection;
mod conditions;
mod error;
mod maps;
mod outbound;
mod reader;
mod rule;
mod scan;

pub use error::{ParseError, Place};

use crate::model::{Level, RuleSet};
use collection::Builder;
use reader::Reader;
use roxmltree::{Document, Node};

/// The largest text that is read. `SharedWebConfig.config` of a real Exchange server has 1.8 MB.
pub const MAX_TEXT: usize = 8 * 1024 * 1024;
/// Elements within elements.
pub const MAX_DEPTH: usize = 64;
/// Attributes of one element; the XML library is quadratic in them.
pub const MAX_ATTRIBUTES: usize = 64;
/// Namespace declarations in the whole text: each is inherited by everything below it.
pub const MAX_NAMESPACES: usize = 64;
/// Rules of one kind (global, inbound, outbound), or preconditions, or maps, in one set.
pub const MAX_RULES: usize = 10_000;
/// `<clear/>` and `<remove>` of a kind: each looks at all that was read before it.
pub const MAX_TAKEN_AWAY: usize = 1_000;
/// Conditions, or server variables, of one rule.
pub const MAX_PER_RULE: usize = 256;
/// Entries in all maps together.
pub const MAX_MAP_ENTRIES: usize = 100_000;

/// The text of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelText<'a> {
    /// The file, for errors; empty: none is named.
    pub file: &'a str,
    /// Where its rules stand.
    pub level: Level,
    /// As [`RuleSet::parse`] reads it.
    pub text: &'a str,
}

impl RuleSet {
    /// Reads a rule set from text. Accepts a byte order mark. Rules of `<location path="…">` stand at that
    /// level, behind those of the levels above it.
    ///
    /// # Errors
    /// [`ParseError`]: the place, what was found, what is allowed.
    pub fn parse(xml: &str) -> Result<RuleSet, ParseError> {
        let document = read(xml)?;
        let mut sections = Vec::new();
        find(&document, &Level::default(), &mut sections)?;
        sections.sort_by_key(Section::depth);
        let mut builder = Builder::whole();
        sections.iter().try_for_each(|section| section.read(&mut builder))?;
        Ok(builder.finish())
    }

    /// Reads the rules that hold at the last of these levels: each text adds to what its parents gave, and
    /// its `<clear/>` and `<remove>` take away from it. A `<location>` counts where the last level lies in
    /// it.
    ///
    /// # Errors
    /// [`ParseError`], with the name of the file where it has one.
    pub fn from_levels(levels: &[LevelText]) -> Result<RuleSet, ParseError> {
        let named = |at: usize| {
            let file = levels.get(at).map(|level| level.file).unwrap_or_default().to_owned();
            move |error| match file.is_empty() {
                true => error,
                false => ParseError::In { file, error: Box::new(error) },
            }
        };
        let mut documents = Vec::new();
        for (at, level) in levels.iter().enumerate() {
            documents.push(read(level.text).map_err(named(at))?);
        }
        let mut sections = Vec::new();
        for (at, (document, level)) in documents.iter().zip(levels).enumerate() {
            let mut found = Vec::new();
            find(document, &level.level, &mut found).map_err(named(at))?;
            sections.extend(found.into_iter().map(|section| (at, section)));
        }
        if let Some(last) = levels.last() {
            sections.retain(|(_, section)| section.level.contains(last.level.path()));
        }
        sections.sort_by_key(|(_, section)| section.depth());
        let mut builder = Builder::chain();
        for (at, section) in &sections {
            section.read(&mut builder).map_err(named(*at))?;
        }
        Ok(builder.finish())
    }
}

fn read(xml: &str) -> Result<Document<'_>, ParseError> {
    let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    scan::scan(xml)?;
    Document::parse(xml).map_err(|error| {
        let at = error.pos();
        ParseError::NotXml { place: Place { line: at.row, column: at.col }, message: error.to_string() }
    })
}

/// A `<rewrite>`, or one of its sections that is the whole text, and where it stands.
struct Section<'d, 'i> {
    reader: Reader<'d, 'i>,
    node: Node<'d, 'i>,
    level: Level,
    inherited: bool,
}

impl Section<'_, '_> {
    /// Parents come first.
    fn depth(&self) -> usize {
        self.level.path().split('/').filter(|segment| !segment.is_empty()).count()
    }

    fn read(&self, builder: &mut Builder) -> Result<(), ParseError> {
        builder.enter(&self.level, self.inherited);
        match self.reader.name(self.node) {
            "rewrite" => rewrite(&self.reader, self.node, builder),
            section => part(&self.reader, section, self.node, builder),
        }
    }
}

fn find<'d, 'i>(
    document: &'d Document<'i>,
    level: &Level,
    sections: &mut Vec<Section<'d, 'i>>,
) -> Result<(), ParseError> {
    let reader = Reader { document };
    let root = document.root_element();
    let mut push = |node, level: Level, inherited| {
        sections.push(Section { reader: Reader { document }, node, level, inherited });
    };
    match reader.name(root) {
        "configuration" => {
            // Of a `web.config` only the rewrite sections are ours; every other is another module's business.
            let names_sites = root.children().any(|n| n.has_tag_name("system.applicationHost"));
            for child in root.children().filter(Node::is_element) {
                match reader.name(child) {
                    "system.webServer" => {
                        rewrites(child).for_each(|node| push(node, level.clone(), true));
                    }
                    "location" => {
                        let path = child.attribute("path").unwrap_or("");
                        let inherited = reader.boolean(child, "inheritInChildApplications", true)?;
                        let here = path.is_empty() || path == ".";
                        for node in children(child, "system.webServer").flat_map(rewrites) {
                            if names_sites && !here {
                                let what = format!("rules of <location path=\"{path}\"> beside sites");
                                return Err(reader.unsupported(node, what));
                            }
                            let level = if here { level.clone() } else { level.below(path) };
                            push(node, level, inherited);
                        }
                    }
                    _ => {}
                }
            }
        }
        "system.webServer" => rewrites(root).for_each(|node| push(node, level.clone(), true)),
        "rewrite" | "rules" | "globalRules" | "outboundRules" => push(root, level.clone(), true),
        other => {
            return Err(ParseError::UnknownRoot {
                place: reader.place(root),
                found: other.to_owned(),
                allowed: "rewrite, rules, globalRules, outboundRules, configuration",
            });
        }
    }
    Ok(())
}

fn children<'d, 'i>(node: Node<'d, 'i>, name: &'static str) -> impl Iterator<Item = Node<'d, 'i>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn rewrites<'d, 'i>(server: Node<'d, 'i>) -> impl Iterator<Item = Node<'d, 'i>> {
    children(server, "rewrite")
}

const REWRITE: &str = "globalRules, rules, rewriteMaps, outboundRules, allowedServerVariables, providers";

fn rewrite(reader: &Reader, node: Node, builder: &mut Builder) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let mut seen: Vec<&str> = Vec::new();
    for child in reader.elements(node)? {
        let name = reader.name(child);
        if seen.contains(&name) {
            return Err(ParseError::Repeated { place: reader.place(child), element: name.to_owned() });
        }
        seen.push(name);
        part(reader, name, child, builder)?;
    }
    Ok(())
}

/// One section of `<rewrite>`.
fn part(reader: &Reader, name: &str, node: Node, builder: &mut Builder) -> Result<(), ParseError> {
    match name {
        "globalRules" if !builder.level().is_site() => {
            Err(reader.unsupported(node, "globalRules below the server".to_owned()))
        }
        "globalRules" => rule::rules(reader, node, builder, true),
        "rules" => rule::rules(reader, node, builder, false),
        "rewriteMaps" => maps::maps(reader, node, builder),
        "outboundRules" => outbound::outbound_rules(reader, node, builder),
        "allowedServerVariables" => allowed_variables(reader, node),
        "providers" => match reader.elements(node)?.find(|n| reader.name(*n) == "provider") {
            Some(found) => Err(reader.unsupported(found, "providers".to_owned())),
            None => Ok(()),
        },
        _ => Err(reader.unknown(node, REWRITE)),
    }
}

/// The list that lets an IIS administrator forbid variables. It takes nothing away from a rule's meaning.
fn allowed_variables(reader: &Reader, node: Node) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    for child in reader.elements(node)? {
        reader.empty(child)?;
        match reader.name(child) {
            "add" | "remove" => {
                reader.attributes(child, &["name"])?;
                reader.required(child, "name")?;
            }
            "clear" => reader.attributes(child, &[])?,
            _ => return Err(reader.unknown(child, "add, remove, clear")),
        }
    }
    Ok(())
}
