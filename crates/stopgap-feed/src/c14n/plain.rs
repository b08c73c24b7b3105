//! The canonical form of a plain document, written straight from its text.
//!
//! Most feeds have no namespaces but in their signature, and of such a document both canonical forms are the
//! same and need no tree: tags with sorted attributes, texts with other escapes. What is anything else here
//! (another character than ASCII in a name, a CDATA section, an instruction, a character reference, whatever
//! may be malformed) is not plain, and for [`super::canonicalize_within`] to write, or for the tree parser to
//! refuse. So this code has no errors of its own, and two ways to one answer, which the tests compare.

use crate::scan::Scanned;

/// A plain document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The canonical octets of the document, less what was left out.
    pub octets: Vec<u8>,
    /// From the first tag in the root that has a prefix or declares a namespace up to the last octet before
    /// the root's end tag that is no white space. If that is *one element*, which was not looked at, it is
    /// the root's last child. No namespace is in scope where it stands, so that it can be parsed alone.
    pub left_out: Option<&'a str>,
}

/// The canonical form of the text, in which the scan has seen to line ends, characters and attributes that
/// stand twice; `None` for what is not plain.
pub fn canonicalize_plain<'a>(scanned: &'a Scanned<'_>) -> Option<Plain<'a>> {
    let text = scanned.text();
    // A little more than what was read, for the end tags of what was written without.
    let out = Vec::with_capacity(text.len().saturating_add(text.len() / 8));
    let mut reader = Reader { rest: text, out, attributes: Vec::new(), open: Vec::new() };
    let mut left_out = None;
    reader.aside()?;
    if reader.start_tag()? == Tag::Foreign {
        return None;
    }
    while !reader.open.is_empty() {
        reader.text()?;
        let here = reader.rest;
        match here.as_bytes() {
            [b'<', b'/', ..] => reader.end_tag()?,
            [b'<', b'!', ..] => reader.comment()?,
            _ => {
                if reader.start_tag()? == Tag::Foreign {
                    if left_out.is_some() || reader.open.len() > 1 {
                        return None;
                    }
                    let (element, rest) = up_to_the_last_end_tag(here)?;
                    left_out = Some(element);
                    reader.rest = rest;
                }
            }
        }
    }
    reader.aside()?;
    reader.rest.is_empty().then_some(Plain { octets: reader.out, left_out })
}

/// Cuts before the white space that stands before the last end tag.
fn up_to_the_last_end_tag(text: &str) -> Option<(&str, &str)> {
    let (before, _) = text.split_at_checked(text.rfind("</")?)?;
    text.split_at_checked(before.trim_end_matches(WHITE_SPACE).len())
}

const WHITE_SPACE: [char; 3] = [' ', '\t', '\n'];

#[derive(PartialEq, Eq)]
enum Tag {
    Written,
    /// Has a prefix or declares a namespace; nothing was written.
    Foreign,
}

struct Reader<'a> {
    rest: &'a str,
    out: Vec<u8>,
    /// Of the tag that is looked at: names, and values as they stand.
    attributes: Vec<(&'a str, &'a str)>,
    /// Names of the open elements.
    open: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// White space and comments beside the root element.
    fn aside(&mut self) -> Option<()> {
        loop {
            self.white_space();
            if !self.rest.starts_with("<!") {
                return Some(());
            }
            self.comment()?;
        }
    }

    fn start_tag(&mut self) -> Option<Tag> {
        self.take("<")?;
        let name = self.name()?;
        self.attributes.clear();
        let empty = loop {
            if self.rest.starts_with(':') {
                return Some(Tag::Foreign);
            }
            let apart = self.white_space();
            if self.take(">").is_some() {
                break false;
            }
            if self.take("/>").is_some() {
                break true;
            }
            if !apart {
                return None;
            }
            let attribute = self.name()?;
            if attribute == "xmlns" || self.rest.starts_with(':') {
                return Some(Tag::Foreign);
            }
            let value = self.value()?;
            self.attributes.push((attribute, value));
        };
        // Each name stands once, so that values are not compared.
        self.attributes.sort_unstable();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        for (attribute, value) in &self.attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.as_bytes());
            self.out.extend_from_slice(b"=\"");
            write_value(value, &mut self.out)?;
            self.out.push(b'"');
        }
        self.out.push(b'>');
        match empty {
            true => self.write_end(name),
            false => self.open.push(name),
        }
        Some(Tag::Written)
    }

    fn end_tag(&mut self) -> Option<()> {
        self.take("</")?;
        let name = self.open.pop()?;
        self.take(name)?;
        self.white_space();
        self.take(">")?;
        self.write_end(name);
        Some(())
    }

    fn write_end(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    fn value(&mut self) -> Option<&'a str> {
        self.white_space();
        self.take("=")?;
        self.white_space();
        let quote = self.rest.bytes().next().filter(|octet| matches!(octet, b'"' | b'\''))?;
        self.pass(1)?;
        let value = self.pass(memchr::memchr(quote, self.rest.as_bytes())?)?;
        self.pass(1)?;
        Some(value)
    }

    /// Text up to the next tag, which there must be.
    fn text(&mut self) -> Option<()> {
        loop {
            let at = memchr::memchr3(b'<', b'&', b'>', self.rest.as_bytes())?;
            let text = self.pass(at)?;
            self.out.extend_from_slice(text.as_bytes());
            if self.rest.starts_with('<') {
                return Some(());
            }
            if self.take(">").is_some() {
                // In text the end of a CDATA section may not stand as such (XML 1.0, section 2.4).
                if self.out.ends_with(b"]]") {
                    return None;
                }
                self.out.extend_from_slice(b"&gt;");
                continue;
            }
            let (character, rest) = reference(self.rest)?;
            self.rest = rest;
            super::escape_text(character, &mut self.out);
        }
    }

    /// Which is not written. One that begins with what may end it is left to others.
    fn comment(&mut self) -> Option<()> {
        self.take("<!--")?;
        if self.rest.starts_with(['-', '>']) {
            return None;
        }
        self.pass(memchr::memmem::find(self.rest.as_bytes(), b"--")?)?;
        self.take("-->")
    }

    /// A name of ASCII without a colon.
    fn name(&mut self) -> Option<&'a str> {
        let in_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.');
        let length = self.rest.bytes().position(|octet| !in_name(octet))?;
        let name = self.pass(length)?;
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(name)
    }

    /// Whether some stood here; it is passed then.
    fn white_space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(WHITE_SPACE);
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn pass(&mut self, length: usize) -> Option<&'a str> {
        let (passed, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(passed)
    }
}

/// An attribute's value as it stands to how it is written. Tabs and line feeds that stand there as such are
/// spaces (XML 1.0, section 3.3.3).
fn write_value(value: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    loop {
        let special = |octet: u8| matches!(octet, b'&' | b'<' | b'"' | b'\t' | b'\n' | b'\r');
        let Some(at) = rest.bytes().position(special) else { break };
        let (text, from) = rest.split_at_checked(at)?;
        out.extend_from_slice(text.as_bytes());
        rest = match from.as_bytes().first()? {
            b'&' => {
                let (character, rest) = reference(from)?;
                super::escape_attribute(character, out);
                rest
            }
            b'"' => {
                out.extend_from_slice(b"&quot;");
                from.get(1..)?
            }
            b'\t' | b'\n' => {
                out.push(b' ');
                from.get(1..)?
            }
            _ => return None,
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Some(())
}

/// A reference to one of the five characters that have a name (XML 1.0, section 4.6), and what follows.
fn reference(text: &str) -> Option<(&'static str, &str)> {
    let named = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'")];
    named.iter().find_map(|(name, character)| Some((*character, text.strip_prefix(name)?)))
}
