//! Puts mitigations together into one unsigned document: pure text in, text out.
//!
//! Each `mitigation.xml` is copied as it is written, moved in by one level, and without its comments:
//! a signature does not cover comments, so what the author notes there must not travel under its
//! name.
//!
//! Not in here: reading folders ([`crate::folder`]), and whether the result makes sense
//! ([`crate::lint`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use roxmltree::{Node, NodeType};
use stopgap_feed::limits::Limits;
use stopgap_feed::scan::{ScanError, scan};
use stopgap_feed::{FeedName, Id, document::Withdrawn};

/// What stands on the document's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `EOCS@feed`.
    pub feed: FeedName,
    /// `EOCS@serial`.
    pub serial: u64,
    /// `EOCS@issued`; written in whole seconds.
    pub issued: Timestamp,
    /// `EOCS@expires`; written in whole seconds.
    pub expires: Timestamp,
    /// `Withdrawn` elements.
    pub withdrawn: Vec<Withdrawn>,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// A `mitigation.xml` is no XML, or too much of it.
    #[error("{id}: mitigation.xml: {source}")]
    Xml {
        /// The folder's name.
        id: Id,
        /// The cause, with its line.
        source: ScanError,
    },
    /// It holds something else.
    #[error("{id}: mitigation.xml: expected one <Config> element without a namespace, found <{found}>")]
    NotConfig {
        /// The folder's name.
        id: Id,
        /// The root element's name.
        found: String,
    },
    /// The folder says one id, the element another.
    #[error("{id}: mitigation.xml: expected id=\"{id}\" as the folder is named, found {found:?}")]
    OtherId {
        /// The folder's name.
        id: Id,
        /// What the element says.
        found: String,
    },
    /// Twice in one document, or withdrawn and released at once.
    #[error("{id} stands in the document twice; an id is given once, also to what is withdrawn")]
    Twice {
        /// The id.
        id: Id,
    },
}

impl AssembleError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Xml { source, .. } => source.code(),
            Self::NotConfig { .. } => "not-config",
            Self::OtherId { .. } => "other-id",
            Self::Twice { .. } => "id-twice",
        }
    }
}

/// The unsigned document: UTF-8, line feeds, indented by two.
///
/// `configs` holds each mitigation's id and the text of its `mitigation.xml`; the document keeps
/// their order.
pub fn assemble(release: &Release, configs: &[(Id, &str)]) -> Result<String, AssembleError> {
    let mut ids = BTreeSet::new();
    let all = configs.iter().map(|(id, _)| id).chain(release.withdrawn.iter().map(|w| &w.id));
    for id in all {
        if !ids.insert(id) {
            return Err(AssembleError::Twice { id: id.clone() });
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<EOCS version=\"2.0\" feed=\"{}\" serial=\"{}\" issued=\"{}\" expires=\"{}\">",
        release.feed,
        release.serial,
        whole_seconds(release.issued),
        whole_seconds(release.expires),
    );
    for (id, text) in configs {
        let _ = writeln!(out, "  {}", config(id, text)?);
    }
    for withdrawn in &release.withdrawn {
        let reason = attribute(&withdrawn.reason);
        let _ = writeln!(out, "  <Withdrawn id=\"{}\" reason=\"{reason}\"/>", withdrawn.id);
    }
    out.push_str("</EOCS>\n");
    Ok(out)
}

/// A document that [`assemble`] made, with this serial, issue and expiry in place of its own.
pub fn reissue(unsigned: &str, release: &Release) -> Result<String, ScanError> {
    let scanned = scan(unsigned.as_bytes(), &Limits::default())?;
    let tree = scanned.parse()?;
    let text = scanned.text();
    let values = [
        ("serial", release.serial.to_string()),
        ("issued", whole_seconds(release.issued).to_string()),
        ("expires", whole_seconds(release.expires).to_string()),
    ];
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
    let mut copied = tree.root_element().range().start;
    for attribute in tree.root_element().attributes() {
        let Some((_, value)) = values.iter().find(|(name, _)| *name == attribute.name()) else { continue };
        let range = attribute.range_value();
        out.push_str(text.get(copied..range.start).unwrap_or_default());
        out.push_str(value);
        copied = range.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Ok(out)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The `<Config>` element's text, one level further in and without comments.
fn config(id: &Id, text: &str) -> Result<String, AssembleError> {
    let xml = |source| AssembleError::Xml { id: id.clone(), source };
    let scanned = scan(text.as_bytes(), &Limits::default()).map_err(xml)?;
    let tree = scanned.parse().map_err(xml)?;
    let root = tree.root_element();
    if !root.has_tag_name("Config") || root.tag_name().namespace().is_some() {
        return Err(AssembleError::NotConfig { id: id.clone(), found: root.tag_name().name().to_owned() });
    }
    let found = root.attribute("id").unwrap_or_default();
    if found.parse::<Id>().ok().as_ref() != Some(id) {
        return Err(AssembleError::OtherId { id: id.clone(), found: found.to_owned() });
    }
    let text = scanned.text();
    let mut out = String::with_capacity(text.len());
    let mut copied = root.range().start;
    for node in root.descendants() {
        let range = node.range();
        let replacement = match node.node_type() {
            NodeType::Comment => String::new(),
            NodeType::Text if is_layout(node) => match node.next_sibling() {
                Some(next) if next.is_comment() => String::new(),
                _ => text.get(range.clone()).unwrap_or_default().replace('\n', "\n  "),
            },
            _ => continue,
        };
        out.push_str(text.get(copied..range.start).unwrap_or_default());
        out.push_str(&replacement);
        copied = range.end;
    }
    out.push_str(text.get(copied..root.range().end).unwrap_or_default());
    Ok(out)
}

/// White space between elements. White space in a request head or a name is content.
fn is_layout(node: Node<'_, '_>) -> bool {
    let blank = node.text().is_some_and(|text| text.trim().is_empty());
    blank && node.parent().is_some_and(|parent| parent.children().any(|child| child.is_element()))
}

pub(crate) fn attribute(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push(' '),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    fn release() -> Release {
        Release {
            feed: "example".parse().unwrap(),
            serial: 42,
            issued: "2026-11-22T03:00:00.25Z".parse().unwrap(),
            expires: "2026-12-06T03:00:00Z".parse().unwrap(),
            withdrawn: vec![Withdrawn { id: id("M0"), reason: "\"Fixed\" & <done>".into() }],
        }
    }

    #[test]
    fn layout_moves_in_and_content_stays() {
        let config = "<?xml version=\"1.0\"?>\r\n<!-- mine -->\r\n<Config id=\"M1\">\r\n  <!-- why -->\r\n  <Probes>\r\n    <Request expect=\"blocked\">GET / HTTP/1.1\r\nCookie: a</Request>\r\n  </Probes>\r\n</Config>\r\n";
        assert_eq!(
            assemble(&release(), &[(id("M1"), config)]).unwrap(),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>
<EOCS version=\"2.0\" feed=\"example\" serial=\"42\" issued=\"2026-11-22T03:00:00Z\" expires=\"2026-12-06T03:00:00Z\">
  <Config id=\"M1\">
    <Probes>
      <Request expect=\"blocked\">GET / HTTP/1.1
Cookie: a</Request>
    </Probes>
  </Config>
  <Withdrawn id=\"M0\" reason=\"&quot;Fixed&quot; &amp; &lt;done>\"/>
</EOCS>
"
        );
    }

    #[test]
    fn a_reissue_changes_the_head_and_nothing_else() {
        let config = "<Config id=\"M1\" serial=\"42\" desc=\"issued\"/>";
        let first = assemble(&release(), &[(id("M1"), config)]).unwrap();
        let next = Release {
            serial: 43,
            issued: "2026-11-29T03:00:00Z".parse().unwrap(),
            expires: "2026-12-13T03:00:00Z".parse().unwrap(),
            ..release()
        };
        assert_eq!(reissue(&first, &next).unwrap(), assemble(&next, &[(id("M1"), config)]).unwrap());
    }

    #[test]
    fn a_folder_and_its_element_must_agree() {
        let other = assemble(&release(), &[(id("M1"), "<Config id=\"M2\"/>")]);
        assert_eq!(other, Err(AssembleError::OtherId { id: id("M1"), found: "M2".into() }));
        let wrong = assemble(&release(), &[(id("M1"), "<EOCS/>")]);
        assert_eq!(wrong, Err(AssembleError::NotConfig { id: id("M1"), found: "EOCS".into() }));
        let broken = assemble(&release(), &[(id("M1"), "<Config id=\"M1\">")]);
        assert!(matches!(broken, Err(AssembleError::Xml { .. })), "{broken:?}");
    }

    #[test]
    fn an_id_is_given_once() {
        let config = "<Config id=\"M01\"/>";
        let twice = assemble(&release(), &[(id("M1"), config), (id("M01"), config)]);
        assert_eq!(twice, Err(AssembleError::Twice { id: id("M1") }));
        let recalled = assemble(&release(), &[(id("M0"), "<Config id=\"M0\"/>")]);
        assert_eq!(recalled, Err(AssembleError::Twice { id: id("M0") }));
    }
}
