//! Bytes to text and back, to the byte.

use super::error::DocumentError;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, as IIS itself writes its files without a mark and .NET with one.
    Utf8 {
        /// Whether a byte order mark stands first.
        mark: bool,
    },
    /// UTF-16, low byte first, with a byte order mark.
    Utf16Le,
    /// UTF-16, high byte first, with a byte order mark.
    Utf16Be,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 { .. } => "UTF-8",
            Encoding::Utf16Le | Encoding::Utf16Be => "UTF-16",
        }
    }
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn decode(bytes: &[u8]) -> Result<(Encoding, String), DocumentError> {
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return Ok((Encoding::Utf16Le, utf16(rest, u16::from_le_bytes)?));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return Ok((Encoding::Utf16Be, utf16(rest, u16::from_be_bytes)?));
    }
    let (mark, rest) = match bytes.strip_prefix(UTF8_MARK) {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    match std::str::from_utf8(rest) {
        Ok(text) => Ok((Encoding::Utf8 { mark }, text.to_owned())),
        Err(error) => Err(DocumentError::Undecodable {
            at: bytes.len() - rest.len() + error.valid_up_to(),
            encoding: "UTF-8",
        }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, DocumentError> {
    let undecodable = |at| DocumentError::Undecodable { at, encoding: "UTF-16" };
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(undecodable(bytes.len() + 1));
    }
    let mut text = String::with_capacity(pairs.len());
    let mut at = 2;
    for found in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let found = found.map_err(|_| undecodable(at))?;
        at += 2 * found.len_utf16();
        text.push(found);
    }
    Ok(text)
}

pub(super) fn encode(encoding: Encoding, text: &str) -> Vec<u8> {
    match encoding {
        Encoding::Utf8 { mark: false } => text.as_bytes().to_vec(),
        Encoding::Utf8 { mark: true } => [UTF8_MARK, text.as_bytes()].concat(),
        Encoding::Utf16Le => b"\xff\xfe".iter().copied().chain(units(text, u16::to_le_bytes)).collect(),
        Encoding::Utf16Be => b"\xfe\xff".iter().copied().chain(units(text, u16::to_be_bytes)).collect(),
    }
}

fn units(text: &str, bytes: fn(u16) -> [u8; 2]) -> impl Iterator<Item = u8> {
    text.encode_utf16().flat_map(bytes)
}

/// Refuses a declaration that contradicts the bytes. An encoding that agrees with UTF-8 on ASCII is taken where
/// the text has nothing else.
pub(super) fn declared(text: &str, encoding: Encoding) -> Result<(), DocumentError> {
    let Some(name) = declaration(text) else { return Ok(()) };
    let declared = name.to_ascii_lowercase();
    let holds = match encoding {
        Encoding::Utf8 { .. } => {
            let like_ascii = ["us-ascii", "iso-8859-", "windows-125"];
            declared == "utf-8"
                || (text.is_ascii() && like_ascii.iter().any(|prefix| declared.starts_with(prefix)))
        }
        Encoding::Utf16Le | Encoding::Utf16Be => declared.starts_with("utf-16"),
    };
    if holds {
        return Ok(());
    }
    Err(DocumentError::Encoding { declared: name.chars().take(40).collect(), found: encoding.name() })
}

/// The encoding that the XML declaration names.
fn declaration(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("<?xml")?.split_once("?>")?.0;
    let value = inside.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.get(1..)?.split_once(quote).map(|(name, _)| name)
}
