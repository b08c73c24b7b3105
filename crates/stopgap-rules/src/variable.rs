//! Server variables: their names, and their values for a request.

use crate::request::Request;
use std::borrow::Cow;

/// A variable that a template names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    /// The raw path and query, as received; `UNENCODED_URL` is the same. A Rewrite does not change it.
    RequestUri,
    /// The raw query string; follows a Rewrite.
    QueryString,
    /// The decoded path; `URL` and `PATH_INFO`. Follows a Rewrite.
    Url,
    /// The physical root and the decoded path; follows a Rewrite.
    RequestFilename,
    RequestMethod,
    RemoteAddr,
    ServerPort,
    ServerPortSecure,
    Https,
    AppPoolId,
    /// `HTTP_<NAME>`: the name without the prefix, in capitals, with underscores.
    Header(String),
    /// A name of the rules' own, set by `<serverVariables>`: in capitals.
    Own(String),
}

impl Variable {
    /// The variable of this name, in any case; nothing for a name that IIS has and we do not, or that nobody
    /// has. `own` tells whether the rules themselves set it.
    pub(crate) fn named(name: &str, own: impl Fn(&str) -> bool) -> Option<Variable> {
        let name = name.to_ascii_uppercase();
        Some(match name.as_str() {
            "REQUEST_URI" | "UNENCODED_URL" => Variable::RequestUri,
            "QUERY_STRING" => Variable::QueryString,
            "URL" | "PATH_INFO" => Variable::Url,
            "REQUEST_FILENAME" => Variable::RequestFilename,
            "REQUEST_METHOD" => Variable::RequestMethod,
            "REMOTE_ADDR" => Variable::RemoteAddr,
            "SERVER_PORT" => Variable::ServerPort,
            "SERVER_PORT_SECURE" => Variable::ServerPortSecure,
            "HTTPS" => Variable::Https,
            "APP_POOL_ID" => Variable::AppPoolId,
            _ => match name.strip_prefix("HTTP_") {
                Some("") => return None,
                Some(header) => Variable::Header(header.replace('-', "_")),
                None if own(&name) => Variable::Own(name),
                None => return None,
            },
        })
    }

    /// Whether a Rewrite changes it.
    pub(crate) fn follows_rewrite(&self) -> bool {
        matches!(self, Variable::QueryString | Variable::Url | Variable::RequestFilename)
    }

    /// Its value before any rule changed anything; empty where the request has none.
    pub(crate) fn of<'r>(&self, request: &'r Request<'_>) -> Cow<'r, str> {
        let connection = request.connection();
        match self {
            Variable::RequestUri => request.target(),
            Variable::QueryString => request.query(),
            Variable::Url => request.path(),
            Variable::RequestFilename => {
                Cow::Owned(format!("{}{}", connection.physical_root, request.path()))
            }
            Variable::RequestMethod => Cow::Borrowed(request.method()),
            Variable::RemoteAddr => Cow::Owned(connection.remote_addr.to_string()),
            Variable::ServerPort => Cow::Owned(connection.server_port.to_string()),
            Variable::ServerPortSecure => Cow::Borrowed(if connection.https { "1" } else { "0" }),
            Variable::Https => Cow::Borrowed(if connection.https { "on" } else { "off" }),
            Variable::AppPoolId => Cow::Borrowed(connection.app_pool_id),
            Variable::Header(name) => request.header(name).unwrap_or_default(),
            Variable::Own(_) => Cow::Borrowed(""),
        }
    }

    /// The bytes of a value that comes from the wire as it is.
    pub(crate) fn raw<'r>(&self, request: &'r Request<'_>) -> Option<Cow<'r, [u8]>> {
        match self {
            Variable::RequestUri => Some(Cow::Borrowed(request.raw_target())),
            Variable::QueryString => Some(Cow::Borrowed(request.raw_query())),
            Variable::Header(name) => request.raw_header(name),
            _ => None,
        }
    }
}
