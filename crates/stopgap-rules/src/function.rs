//! The functions of a template: `{ToLower:…}`, `{UrlEncode:…}`, `{UrlDecode:…}`. Names are case-sensitive and
//! no blank follows the colon, as in IIS.

pub(crate) mod percent;
mod to_lower;
pub(crate) mod url_decode;
mod url_encode;

use std::borrow::Cow;

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Lowercase.
    ToLower,
    /// Percent-encoding.
    UrlEncode,
    /// Percent-decoding, once.
    UrlDecode,
}

impl Function {
    /// The function of this name.
    pub fn named(name: &str) -> Option<Function> {
        match name {
            "ToLower" => Some(Function::ToLower),
            "UrlEncode" => Some(Function::UrlEncode),
            "UrlDecode" => Some(Function::UrlDecode),
            _ => None,
        }
    }

    /// Its value.
    pub fn apply<'a>(self, text: &Cow<'a, str>) -> Cow<'a, str> {
        match self {
            Function::ToLower => to_lower::apply(text),
            Function::UrlEncode => url_encode::apply(text),
            Function::UrlDecode => url_decode::apply(text),
        }
    }
}
