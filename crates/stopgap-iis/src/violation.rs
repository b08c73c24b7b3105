//! What IIS answers with an error instead of a page: which fault, for which application, where it stands.

use std::sync::Arc;

use stopgap_rules::parse::Place;

/// One fault of the configuration, as one application meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub code: Code,
    /// The application that it breaks, `Default Web Site/owa`; empty: the whole server.
    pub application: String,
    /// The level at which it comes up, at or below the application.
    pub level: String,
    /// The file, a Windows path.
    pub file: Arc<str>,
    /// Where in it; line 1, column 1 where the file as a whole is meant.
    pub place: Place,
    /// What IIS answers, as it is logged: `500.19`; `503` where no site starts.
    pub status: &'static str,
    /// What was found, what was expected, what to do.
    pub message: String,
    /// The unique key, the section or the variable that it is about, where there is one.
    pub key: Option<String>,
}

/// A fault, before it is known whom it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) place: Place,
    pub(crate) status: &'static str,
    pub(crate) message: String,
    pub(crate) key: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Fault {
        Fault { code, place, status: "500.19", message: message.into(), key: None }
    }

    pub(crate) fn status(self, status: &'static str) -> Fault {
        Fault { status, ..self }
    }

    pub(crate) fn key(self, key: impl Into<String>) -> Fault {
        Fault { key: Some(key.into()), ..self }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal $explanation:literal),+ $(,)?) => {
        /// What is wrong. The words are API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// A stable word for scripts.
            pub fn word(self) -> &'static str {
                match self { $(Code::$name => $word),+ }
            }

            /// Why IIS does not take it, and by what word of Microsoft's.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$name => $explanation),+ }
            }
        }
    };
}

codes! {
    /// Not well-formed XML, or not a configuration file.
    Malformed "malformed" "IIS reads a file whole: one that is not well-formed XML gives 500.19 (0x8007000d) for all \
        that lies in its folder, and 503 for every site where it is applicationHost.config.",
    /// The bytes are not of the encoding that they promise.
    Undecodable "undecodable" "IIS's reader takes UTF-8, and UTF-16 with a byte order mark; other bytes are malformed XML \
        to it.",
    /// The file is there and cannot be read.
    Unreadable "unreadable" "A configuration file that the worker process cannot open gives 500.19 (0x80070005).",
    /// A key that is unique stands twice.
    DuplicateKey "duplicate-key" "Rules, preconditions, maps and their entries have unique keys (isUniqueKey in \
        rewrite_schema.xml), over all levels that a path inherits from. A second one is \"Cannot add duplicate \
        collection entry\": 500.19, 0x800700b7. <remove> or <clear/> before it, or a <location \
        inheritInChildApplications=\"false\"> around the first, avoid it.",
    /// A section stands twice in one file for one path.
    DuplicateSection "duplicate-section" "\"Sections must only appear once per config file\": 500.19, 0x800700b7. A \
        section directly in the file and one in a <location> for the same level are two, as are two locations of \
        one path with the same section.",
    /// A parent has locked the section.
    SectionLocked "section-locked" "A section that a parent locks (overrideModeDefault or overrideMode Deny, allowOverride \
        false, lockItem) cannot stand in a file below: 500.19, 0x80070021, \"This configuration section cannot be \
        used at this path\".",
    /// A parent has locked an element, an attribute or an entry of the section.
    ElementLocked "element-locked" "lockElements, lockAttributes and lockItem of a parent file hold for the files below: \
        500.19, 0x80070021, \"Lock violation\".",
    /// A lock whose effect is not modeled.
    UnknownLock "unknown-lock" "Locks are modeled on sections and on their entries. What this one keeps other files from \
        changing is not known here, so nothing below it is called sound.",
    /// The section cannot stand at this level.
    WrongLevel "wrong-level" "allowDefinition and allowLocation of the section's declaration say where it can stand: \
        globalRules in applicationHost.config alone, for the whole server. Elsewhere: 500.19, 0x80070032 or \
        0x8007000d.",
    /// The server does not know the section.
    NotDeclared "section-not-declared" "A section without a declaration in <configSections> of applicationHost.config gives \
        500.19, 0x8007000d. Setup of the URL Rewrite module writes it: the module is not installed.",
    /// An element that the schema does not have.
    UnknownElement "unknown-element" "The schema (rewrite_schema.xml) has no such element: 500.19, 0x8007000d, \
        \"Unrecognized element\".",
    /// An attribute that the schema does not have.
    UnknownAttribute "unknown-attribute" "The schema (rewrite_schema.xml) has no such attribute: 500.19, 0x8007000d, \
        \"Unrecognized attribute\".",
    /// An attribute that must be there is not.
    MissingAttribute "missing-attribute" "The schema requires the attribute: 500.19, 0x8007000d, \"Required attribute is \
        missing\".",
    /// A value outside its type.
    BadValue "bad-value" "The schema gives the attribute a type and a range, such as status codes without 300 to 307: \
        500.19, 0x8007000d.",
    /// An element that can stand once stands twice.
    RepeatedElement "repeated-element" "The element can stand once: 500.19, 0x8007000d.",
    /// Words where only elements can stand.
    UnexpectedText "unexpected-text" "Configuration has elements and attributes alone: 500.19, 0x8007000d.",
    /// Too many of one thing.
    TooMany "too-many" "A bound of this program's, not of IIS's: what lies beyond it was not judged.",
    /// The file that a section is kept in.
    ConfigSource "config-source" "configSource names a file below the folder of this one, whose root is the section; the \
        section itself then has nothing else. Otherwise 500.19.",
    /// The section is encrypted.
    Encrypted "encrypted" "configProtectionProvider: the section can be read on its own server alone. It was not judged.",
    /// An outbound rule names a precondition that is not there.
    UnknownPreCondition "unknown-precondition" "A preCondition is looked up by its name when the rule is loaded; without \
        it every response fails: 500.52 (URL Rewrite Module Error).",
    /// A rule sets a variable that the server does not allow.
    VariableNotAllowed "variable-not-allowed" "A rule sets only what allowedServerVariables lists, unless it is a \
        global rule: 500.50, \"the server variable is not allowed to be set\".",
    /// A pattern that is no ECMAScript 3 regular expression.
    BadPattern "bad-pattern" "The module compiles patterns when it loads the rules: 500.50 for rules, 500.51 for global \
        rules, 500.52 for outbound rules.",
}
