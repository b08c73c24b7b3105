//! Why a file is no document.

use stopgap_rules::parse::Place;

/// A file that IIS's reader would not take either, or that is beyond a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Larger than is read at all.
    #[error("the file has {found} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Bytes that are not of the encoding.
    #[error("byte {at}: not {encoding}")]
    Undecodable {
        /// The first such byte, from 0.
        at: usize,
        /// What the byte order mark, or its absence, promised.
        encoding: &'static str,
    },
    /// The declaration names another encoding than the file is in.
    #[error("the file declares the encoding {declared:?} and is written in {found}; save it as UTF-8")]
    Encoding {
        /// What it declares.
        declared: String,
        /// What it is.
        found: &'static str,
    },
    /// Not well-formed XML.
    #[error("{place}: {found}; expected {expected}")]
    Malformed {
        /// Where.
        place: Place,
        /// What stands there.
        found: String,
        /// What could.
        expected: String,
    },
    /// A document type declaration: IIS's reader prohibits it.
    #[error("{place}: a document type declaration is not allowed")]
    Doctype {
        /// Where it starts.
        place: Place,
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
}

impl DocumentError {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            DocumentError::TooLarge { .. } | DocumentError::TooMany { .. } => "too-large",
            DocumentError::Undecodable { .. } | DocumentError::Encoding { .. } => "undecodable",
            DocumentError::Malformed { .. } => "malformed",
            DocumentError::Doctype { .. } => "doctype",
        }
    }

    /// Where, if it is one place.
    pub fn place(&self) -> Option<Place> {
        match self {
            DocumentError::Malformed { place, .. }
            | DocumentError::Doctype { place }
            | DocumentError::TooMany { place, .. } => Some(*place),
            _ => None,
        }
    }
}
