//! What is known of a request, by the names of server variables.

use std::collections::BTreeSet;

/// What of a request is known: what a log holds of each, or what somebody wrote down of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// Server variables in capitals, such as `HTTP_USER_AGENT`.
    names: BTreeSet<String>,
    /// Every header: one that is not there was not sent.
    all_headers: bool,
}

/// The address as it was sent, and what is made of it: wherever there is a request at all, this is known.
const ADDRESS: [&str; 5] = ["REQUEST_URI", "UNENCODED_URL", "QUERY_STRING", "URL", "PATH_INFO"];

impl Holds {
    /// The address alone.
    pub fn address() -> Holds {
        Holds { names: ADDRESS.iter().map(|name| (*name).to_owned()).collect(), all_headers: false }
    }

    /// With these variables.
    pub fn with(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Holds {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// With every header.
    pub fn with_all_headers(mut self) -> Holds {
        self.all_headers = true;
        self
    }

    /// Without this variable.
    pub fn without(mut self, name: &str) -> Holds {
        self.names.remove(name);
        self
    }

    /// Whether a server variable is known. A variable that only rules set is made of what they read.
    pub fn has(&self, variable: &str) -> bool {
        match variable.strip_prefix("HTTP_") {
            Some(_) if self.all_headers => true,
            Some(_) => self.names.contains(variable),
            None => self.names.contains(variable) || !OUTSIDE.contains(&variable),
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// What a server knows of a request, beside its headers; any other name is a rule's own.
const OUTSIDE: [&str; 12] = [
    "REQUEST_URI",
    "UNENCODED_URL",
    "QUERY_STRING",
    "URL",
    "PATH_INFO",
    "REQUEST_FILENAME",
    "REQUEST_METHOD",
    "REMOTE_ADDR",
    "SERVER_PORT",
    "SERVER_PORT_SECURE",
    "HTTPS",
    "APP_POOL_ID",
];

/// The variable of a header's name, such as `HTTP_USER_AGENT`.
pub(super) fn header_variable(name: &str) -> String {
    format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_known_or_it_is_a_rules_own() {
        let holds = Holds::address().with(["REQUEST_METHOD", "HTTP_USER_AGENT"]);
        for (name, known) in [
            ("REQUEST_URI", true),
            ("REQUEST_METHOD", true),
            ("HTTP_USER_AGENT", true),
            ("HTTP_COOKIE", false),
            ("REMOTE_ADDR", false),
            ("APP_POOL_ID", false),
            ("MY_OWN", true),
        ] {
            assert_eq!(holds.has(name), known, "{name}");
        }
        assert!(Holds::address().with_all_headers().has("HTTP_COOKIE"));
        assert_eq!(header_variable("user-agent"), "HTTP_USER_AGENT");
    }
}
