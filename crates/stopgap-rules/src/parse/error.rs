//! Why a text is not a rule set.

use std::fmt;

/// Where in the text: both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A refused text: where, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Larger than is read at all.
    #[error("the text has {found} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Not well-formed XML.
    #[error("{place}: not well-formed XML: {message}")]
    NotXml {
        /// Where the XML reader stopped.
        place: Place,
        /// What it said.
        message: String,
    },
    /// A document type declaration.
    #[error("{place}: a document type declaration is not allowed")]
    Doctype {
        /// Where it starts.
        place: Place,
    },
    /// Elements nested too deeply.
    #[error("{place}: elements are nested deeper than {limit}")]
    TooDeep {
        /// The first that is too deep.
        place: Place,
        /// The limit.
        limit: usize,
    },
    /// Too many of one thing.
    #[error("{place}: more than {limit} {what}")]
    TooMany {
        /// The first too many.
        place: Place,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The document is something else.
    #[error("{place}: found <{found}>, expected one of: {allowed}")]
    UnknownRoot {
        /// The root.
        place: Place,
        /// Its name.
        found: String,
        /// What is read.
        allowed: &'static str,
    },
    /// An element that this build does not know.
    #[error("{place}: unknown element <{found}> in <{parent}>; allowed: {allowed}")]
    UnknownElement {
        /// The element.
        place: Place,
        /// The element around it.
        parent: String,
        /// Its name.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Words where only elements can stand.
    #[error("{place}: text {found:?} in <{parent}>, where only elements can stand")]
    UnexpectedText {
        /// The text.
        place: Place,
        /// The element around it.
        parent: String,
        /// Its beginning.
        found: String,
    },
    /// An attribute that this build does not know.
    #[error("{place}: unknown attribute \"{found}\" of <{element}>; allowed: {allowed}")]
    UnknownAttribute {
        /// The element.
        place: Place,
        /// Its name.
        element: String,
        /// The attribute.
        found: String,
        /// What may stand there.
        allowed: String,
    },
    /// A required attribute is absent.
    #[error("{place}: <{element}> has no attribute \"{attribute}\"")]
    MissingAttribute {
        /// The element.
        place: Place,
        /// Its name.
        element: String,
        /// What it lacks.
        attribute: &'static str,
    },
    /// A required element is absent.
    #[error("{place}: <{parent}> has no <{element}>")]
    MissingElement {
        /// The element around.
        place: Place,
        /// Its name.
        parent: &'static str,
        /// What it lacks.
        element: &'static str,
    },
    /// An attribute's value is outside its type.
    #[error("{place}: {attribute}=\"{found}\" of <{element}>; allowed: {allowed}")]
    BadValue {
        /// The element.
        place: Place,
        /// Its name.
        element: String,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// An element that can stand once stands twice.
    #[error("{place}: a second <{element}>")]
    Repeated {
        /// The second one.
        place: Place,
        /// Its name.
        element: String,
    },
    /// Two rules, or two maps, with one name: IIS answers 500.19.
    #[error("{place}: the name \"{name}\" is taken; names are unique keys")]
    DuplicateName {
        /// The second one.
        place: Place,
        /// The name.
        name: String,
    },
    /// Two equal conditions where they are unique keys: IIS answers 500.19.
    #[error("{place}: the same condition on {input:?} stands here already; here they are unique keys")]
    DuplicateCondition {
        /// The second one.
        place: Place,
        /// What it looks at.
        input: String,
    },
    /// An error in one of several files.
    #[error("{file}: {error}")]
    In {
        /// The file.
        file: String,
        /// The error.
        error: Box<ParseError>,
    },
    /// Known to IIS, not built here.
    #[error("{place}: not supported yet: {what}")]
    NotSupported {
        /// Where it stands.
        place: Place,
        /// What it is.
        what: String,
    },
}

impl ParseError {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            ParseError::TooLarge { .. } => "rules-too-large",
            ParseError::NotXml { .. } => "rules-not-xml",
            ParseError::Doctype { .. } => "rules-doctype",
            ParseError::TooDeep { .. } => "rules-too-deep",
            ParseError::TooMany { .. } => "rules-too-many",
            ParseError::UnknownRoot { .. } => "rules-unknown-root",
            ParseError::UnknownElement { .. } => "rules-unknown-element",
            ParseError::UnexpectedText { .. } => "rules-unexpected-text",
            ParseError::UnknownAttribute { .. } => "rules-unknown-attribute",
            ParseError::MissingAttribute { .. } => "rules-missing-attribute",
            ParseError::MissingElement { .. } => "rules-missing-element",
            ParseError::BadValue { .. } => "rules-bad-value",
            ParseError::Repeated { .. } => "rules-repeated",
            ParseError::DuplicateName { .. } => "rules-duplicate-name",
            ParseError::DuplicateCondition { .. } => "rules-duplicate-condition",
            ParseError::In { error, .. } => error.code(),
            ParseError::NotSupported { .. } => "rules-not-supported",
        }
    }
}
