//! Edits: each replaces one span of the text by another, in the file's own manner.

use std::ops::Range;

use super::error::DocumentError;
use super::{Document, ElementId};

/// One span of [`Document::text`], and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the text; empty: an insertion.
    pub span: Range<usize>,
    /// In place of it.
    pub with: String,
}

/// An edit that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The element is not one of this document.
    #[error("the document has no such element")]
    NoElement,
    /// The new element cannot be given the file's indentation without a change of its meaning.
    #[error("the new element has {0}; give elements and attributes alone")]
    Text(&'static str),
    /// Two edits change the same bytes, or one reaches outside the text.
    #[error("bytes {} to {} are not free for an edit", .0.start, .0.end)]
    Span(Range<usize>),
    /// What came out, or what was to be put in, is no document.
    #[error("the edit does not give a well-formed file")]
    Document(#[from] DocumentError),
}

impl Document {
    /// The same document with these edits made, checked as a file that is read. Edits do not overlap; several
    /// insertions at one place stand in the order given.
    ///
    /// # Errors
    /// [`EditError`]; the document itself is never changed.
    pub fn with(&self, edits: &[Edit]) -> Result<Document, EditError> {
        let mut edits: Vec<&Edit> = edits.iter().collect();
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        let more: usize = edits.iter().map(|edit| edit.with.len()).sum();
        let mut text = String::with_capacity(self.text.len() + more);
        let mut at = 0;
        let first = edits.first().map_or(0, |edit| edit.span.start);
        for edit in edits {
            let kept = self.text.get(at..edit.span.start);
            let free = self.text.get(edit.span.clone()).is_some();
            let Some(kept) = kept.filter(|_| free) else { return Err(EditError::Span(edit.span.clone())) };
            text.push_str(kept);
            text.push_str(&edit.with);
            at = edit.span.end;
        }
        text.push_str(self.text.get(at..).unwrap_or(""));
        if text.len() > super::MAX_BYTES {
            let error = DocumentError::TooLarge { found: text.len(), limit: super::MAX_BYTES };
            return Err(EditError::Document(error));
        }
        Ok(self.changed(&(first..at), text)?)
    }

    /// Puts an element in as the last child of another, a line of its own with the file's indentation and line
    /// ends. Where the parent had no line of its own for its end tag, it gets one.
    ///
    /// # Errors
    /// [`EditError`]: no such parent, or the text is not one element without words.
    pub fn append_child(&self, parent: ElementId, xml: &str) -> Result<Edit, EditError> {
        let parent = self.element(parent).ok_or(EditError::NoElement)?;
        let node = parent.node();
        let outer = self.indentation(node.span.start());
        let inner = match parent.children().next() {
            Some(child) if self.first_in_line(child.span().start) => self.indentation(child.span().start),
            _ => format!("{outer}{}", self.unit()),
        };
        let child = self.formatted(xml, &inner)?;
        let end = self.line_end();
        if node.empty_tag {
            // `<rules />` loses its slash, and the blank before it.
            let tag = self.slice(node.span).trim_end_matches("/>").trim_end();
            let with = format!(">{end}{inner}{child}{end}{outer}</{}>", parent.name());
            return Ok(Edit { span: node.span.start() + tag.len()..node.span.end(), with });
        }
        let content = self.slice(node.content);
        let kept = content.trim_end_matches([' ', '\t']);
        let own_line = kept.ends_with('\n');
        if own_line {
            // Behind the last thing in it, before the line of its end tag.
            let at = node.content.start() + kept.trim_end_matches('\n').trim_end_matches('\r').len();
            return Ok(Edit { span: at..at, with: format!("{end}{inner}{child}") });
        }
        let at = node.content.end();
        Ok(Edit { span: at..at, with: format!("{end}{inner}{child}{end}{outer}") })
    }

    /// Puts an element in before another, on a line of its own.
    ///
    /// # Errors
    /// [`EditError`]: no such element, or the text is not one element without words.
    pub fn insert_before(&self, sibling: ElementId, xml: &str) -> Result<Edit, EditError> {
        let at = self.element(sibling).filter(|e| e.parent().is_some()).ok_or(EditError::NoElement)?;
        let at = at.span().start;
        let indentation = self.indentation(at);
        let child = self.formatted(xml, &indentation)?;
        Ok(Edit { span: at..at, with: format!("{child}{}{indentation}", self.line_end()) })
    }

    /// Takes an element out, with its line where it has one of its own. What [`Document::append_child`] put
    /// into an element with lines goes to the byte.
    ///
    /// # Errors
    /// [`EditError::NoElement`]; the root stays.
    pub fn remove(&self, element: ElementId) -> Result<Edit, EditError> {
        let element = self.element(element).filter(|e| e.parent().is_some()).ok_or(EditError::NoElement)?;
        let span = element.span();
        let behind = self.text.get(span.end..).unwrap_or("").trim_start_matches([' ', '\t']);
        let last_in_line = behind.starts_with("\r\n") || behind.starts_with('\n');
        let before = self.text.get(..span.start).unwrap_or("").trim_end_matches([' ', '\t']);
        match before.strip_suffix('\n').filter(|_| last_in_line) {
            Some(line) => {
                let start = line.strip_suffix('\r').unwrap_or(line).len();
                Ok(Edit { span: start..span.end, with: String::new() })
            }
            None => Ok(Edit { span, with: String::new() }),
        }
    }

    /// Gives an attribute a value, in the quotes that it has; a new one stands last.
    ///
    /// # Errors
    /// [`EditError::NoElement`]. A name that is none shows in [`Document::with`].
    pub fn set_attribute(&self, element: ElementId, name: &str, value: &str) -> Result<Edit, EditError> {
        let element = self.element(element).ok_or(EditError::NoElement)?;
        if let Some(found) = element.spans().find(|a| self.slice(a.name) == name) {
            let end = found.value.end();
            let quote = self.text.get(end..end + 1).unwrap_or("\"");
            return Ok(Edit { span: found.value.range(), with: escaped(value, quote) });
        }
        let node = element.node();
        let last = element.spans().last().map(|attribute| attribute.value.end() + 1);
        let at = last.unwrap_or(node.name.end());
        Ok(Edit { span: at..at, with: format!(" {name}=\"{}\"", escaped(value, "\"")) })
    }

    /// Takes an attribute out, with the blanks before it; nothing where there is none of this name.
    pub fn remove_attribute(&self, element: ElementId, name: &str) -> Option<Edit> {
        let span = self.element(element)?.attribute_span(name)?;
        let start = self.text.get(..span.start)?.trim_end().len();
        Some(Edit { span: start..span.end, with: String::new() })
    }

    /// The line end of this file: that of its first line.
    pub fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text.get(..at).is_some_and(|line| line.ends_with('\r')) => "\r\n",
            Some(_) => "\n",
            // One line: as IIS itself would.
            None => "\r\n",
        }
    }

    /// One step of this file's indentation: that of the root's first child with a line of its own.
    fn unit(&self) -> String {
        let steps = self.root().children().filter(|child| self.first_in_line(child.span().start));
        let mut steps = steps.map(|child| self.indentation(child.span().start));
        // IIS itself writes four blanks.
        steps.find(|step| !step.is_empty()).unwrap_or_else(|| "    ".to_owned())
    }

    /// The blanks that the line of this byte begins with.
    fn indentation(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or("");
        let line = before.get(before.rfind('\n').map_or(0, |end| end + 1)..).unwrap_or("");
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
    }

    fn first_in_line(&self, at: usize) -> bool {
        self.text.get(..at).is_some_and(|before| before.trim_end_matches([' ', '\t']).ends_with('\n'))
    }

    /// A new element in this file's manner: its lines get the indentation, and two blanks become one step.
    fn formatted(&self, xml: &str, indentation: &str) -> Result<String, EditError> {
        let xml = xml.trim();
        let new = Document::parse(xml.as_bytes())?;
        if !xml.starts_with('<') || xml.starts_with("<?") || xml.starts_with("<!") {
            return Err(EditError::Text("something before it"));
        }
        if new.root().span() != (0..xml.len()) {
            return Err(EditError::Text("something behind it"));
        }
        if new.elements().any(|element| element.node().words.is_some()) {
            return Err(EditError::Text("words in it"));
        }
        if xml.contains("<!--") {
            return Err(EditError::Text("a comment in it"));
        }
        if new.attributes.iter().any(|a| new.slice(a.value).contains(['\n', '\r', '\t'])) {
            return Err(EditError::Text("a value of several lines"));
        }
        let unit = self.unit();
        let lines = xml.lines().map(|line| {
            let text = line.trim_start_matches([' ', '\t']);
            let depth = (line.len() - text.len()) / 2;
            (text.trim_end(), depth)
        });
        let mut out = String::new();
        for (at, (text, depth)) in lines.filter(|(text, _)| !text.is_empty()).enumerate() {
            if at > 0 {
                out.push_str(self.line_end());
                out.push_str(indentation);
                (0..depth).for_each(|_| out.push_str(&unit));
            }
            out.push_str(text);
        }
        Ok(out)
    }
}

/// As a value between these quotes.
fn escaped(value: &str, quote: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' if quote == "\"" => out.push_str("&quot;"),
            '\'' if quote == "'" => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            _ => out.push(c),
        }
    }
    out
}
