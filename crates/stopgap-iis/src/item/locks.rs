//! `lockItem`, `lockElements` and their kin: what a file keeps the files below it from changing. Within one
//! file, and for its own `<location>`s, a lock means nothing.

use std::borrow::Cow;

use crate::document::Element;
use crate::violation::{Code, Fault};

/// Attributes that any element of the configuration can have.
pub(super) const LOCKS: [&str; 5] =
    ["lockItem", "lockElements", "lockAllElementsExcept", "lockAttributes", "lockAllAttributesExcept"];

/// The locks of one section.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    /// `lockItem`: the section as a whole.
    pub(crate) whole: bool,
    elements: Names,
    attributes: Names,
}

#[derive(Debug, Clone, Default)]
enum Names {
    #[default]
    None,
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Names {
    fn of(element: Element, these: &str, all_but: &str) -> Names {
        let list = |name: &str| {
            let value = element.attribute(name)?;
            Some(
                value
                    .split([',', ' '])
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        match (list(these), list(all_but)) {
            (Some(these), _) if these.iter().any(|name| name == "*") => Names::AllBut(Vec::new()),
            (Some(these), _) => Names::These(these),
            (None, Some(but)) => Names::AllBut(but),
            (None, None) => Names::None,
        }
    }

    fn hold(&self, name: &str) -> bool {
        let among = |list: &[String]| list.iter().any(|other| other == name);
        match self {
            Names::None => false,
            Names::These(list) => among(list),
            Names::AllBut(list) => !among(list),
        }
    }
}

impl Locks {
    pub(super) fn of(section: Element) -> Locks {
        Locks {
            whole: is_true(section, "lockItem"),
            elements: Names::of(section, "lockElements", "lockAllElementsExcept"),
            attributes: Names::of(section, "lockAttributes", "lockAllAttributesExcept"),
        }
    }

    /// Whether the files below may not use this element in the section.
    pub(crate) fn element(&self, name: &str) -> bool {
        self.elements.hold(name)
    }

    /// Whether the files below may not give the section this attribute.
    pub(crate) fn attribute(&self, name: &str) -> bool {
        self.attributes.hold(name)
    }
}

pub(super) fn is_true(element: Element, attribute: &str) -> bool {
    element.attribute(attribute).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A lock where its effect is not modeled.
pub(super) fn unknown(element: Element, attribute: &str) -> Fault {
    let message = format!("{attribute} on <{}>: its effect is not modeled", element.name());
    Fault::new(Code::UnknownLock, element.place(), message)
}

/// The element's text without its locks, each character in its place: in an entry, and in what is in it, they
/// say nothing that another file could meet but `lockItem`, which the caller has read.
pub(super) fn blanked(element: Element<'_>) -> Cow<'_, str> {
    let source = element.source();
    if !source.contains("lock") {
        return Cow::Borrowed(source);
    }
    let start = element.span().start;
    let mut text = source.to_owned();
    for inner in element.descendants() {
        for span in LOCKS.iter().filter_map(|name| inner.attribute_span(name)) {
            let Some(span) = span.start.checked_sub(start).zip(span.end.checked_sub(start)) else { continue };
            let blanks = " ".repeat(span.1 - span.0);
            if text.get(span.0..span.1).is_some() {
                text.replace_range(span.0..span.1, &blanks);
            }
        }
    }
    Cow::Owned(text)
}
