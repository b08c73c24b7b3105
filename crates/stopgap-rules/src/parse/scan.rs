//! Size, depth and counts, before the tree is built: the XML library is quadratic in the attributes and
//! namespaces of an element.

use super::error::{ParseError, Place};
use super::{MAX_ATTRIBUTES, MAX_DEPTH, MAX_NAMESPACES, MAX_TEXT};
use quick_xml::events::Event;

/// Refuses a text that would be costly to parse, or that has a document type.
pub(super) fn scan(xml: &str) -> Result<(), ParseError> {
    if xml.len() > MAX_TEXT {
        return Err(ParseError::TooLarge { found: xml.len(), limit: MAX_TEXT });
    }
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut depth, mut namespaces) = (0usize, 0usize);
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let (tag, opens) = match reader.read_event() {
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::DocType(_)) => return Err(ParseError::Doctype { place: place(xml, at) }),
            Ok(Event::Start(tag)) => (tag, true),
            Ok(Event::Empty(tag)) => (tag, false),
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Ok(_) => continue,
            Err(error) => {
                return Err(ParseError::NotXml { place: place(xml, at), message: error.to_string() });
            }
        };
        depth += usize::from(opens);
        if depth > MAX_DEPTH {
            return Err(ParseError::TooDeep { place: place(xml, at), limit: MAX_DEPTH });
        }
        let too_many = |what, limit| ParseError::TooMany { place: place(xml, at), what, limit };
        for (count, attribute) in tag.attributes().with_checks(false).enumerate() {
            if count >= MAX_ATTRIBUTES {
                return Err(too_many("attributes", MAX_ATTRIBUTES));
            }
            // One that cannot be read is the tree's own error.
            let declares = |key: &str| key == "xmlns" || key.starts_with("xmlns:");
            namespaces += usize::from(attribute.is_ok_and(|a| declares(a.key.as_ref())));
            if namespaces > MAX_NAMESPACES {
                return Err(too_many("namespace declarations", MAX_NAMESPACES));
            }
        }
    }
}

fn place(xml: &str, at: usize) -> Place {
    let before = xml.get(..at).unwrap_or(xml);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}
