//! Just enough of ASN.1 BER to read a timestamp token.
//!
//! Microsoft's tokens have indefinite lengths, which a DER parser refuses. This reader walks BER
//! (X.690 section 8) and hands out slices of it; what must be DER (certificates, signed attributes)
//! is passed on as the octets that stood there. Nesting and steps are bounded.

/// How deep values may be nested. A token has 12 levels down to a name's parts.
const DEPTH: usize = 32;

/// Tags (identifier octets) of the universal types in a token.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[n]`, constructed.
    pub(crate) const fn context(n: u8) -> u8 {
        0xA0 | n
    }
}

const CONSTRUCTED: u8 = 0x20;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    /// Identifier octet (tag numbers above 30 are refused).
    pub(crate) tag: u8,
    /// What is inside, without length octets and end-of-contents.
    pub(crate) content: &'a [u8],
    /// The whole value as it stood.
    pub(crate) whole: &'a [u8],
}

/// The values in a stretch of BER, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next value, whatever its tag; `None` at the end and where it is malformed.
    pub(crate) fn any(&mut self) -> Option<Value<'a>> {
        let (value, rest) = read(self.0, DEPTH)?;
        self.0 = rest;
        Some(value)
    }

    /// The next value where it has the tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Value<'a>> {
        if self.0.first() == Some(&tag) { self.any() } else { None }
    }

    /// The next value, which must have the tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        self.optional(tag)
    }

    /// The octets of the next value, which must be an octet string of either form.
    pub(crate) fn octet_string(&mut self) -> Option<Vec<u8>> {
        self.any()?.octets()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// All remaining values; `None` where one is malformed.
    pub(crate) fn all(mut self) -> Option<Vec<Value<'a>>> {
        let mut all = Vec::new();
        while !self.at_end() {
            all.push(self.any()?);
        }
        Some(all)
    }
}

impl<'a> Value<'a> {
    /// The values inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader(self.content)
    }

    /// The octets of an octet string, primitive or in pieces (X.690 section 8.7.3).
    pub(crate) fn octets(&self) -> Option<Vec<u8>> {
        if self.tag == tag::OCTET_STRING {
            return Some(self.content.to_vec());
        }
        if self.tag != tag::OCTET_STRING | CONSTRUCTED {
            return None;
        }
        let pieces = self.reader().all()?;
        // Pieces of pieces are allowed by X.690 and written by nobody.
        pieces
            .iter()
            .map(|piece| (piece.tag == tag::OCTET_STRING).then_some(piece.content))
            .collect::<Option<Vec<_>>>()
            .map(|p| p.concat())
    }
}

/// One value and what follows it.
fn read(octets: &[u8], depth: usize) -> Option<(Value<'_>, &[u8])> {
    let (&tag, after_tag) = octets.split_first()?;
    if tag & 0x1F == 0x1F || depth == 0 {
        return None;
    }
    let (&first, after) = after_tag.split_first()?;
    let (content, rest) = match first {
        0x80 if tag & CONSTRUCTED != 0 => indefinite(after, depth)?,
        0x80 | 0xFF => return None,
        0x00..=0x7F => after.split_at_checked(usize::from(first))?,
        _ => {
            let (length, after) = after.split_at_checked(usize::from(first & 0x7F))?;
            if length.len() > 4 {
                return None;
            }
            let length = length.iter().fold(0u32, |sum, octet| (sum << 8) | u32::from(*octet));
            after.split_at_checked(usize::try_from(length).ok()?)?
        }
    };
    let whole = octets.get(..octets.len().checked_sub(rest.len())?)?;
    Some((Value { tag, content, whole }, rest))
}

/// The content up to the end-of-contents octets that close it, and what follows them.
fn indefinite(octets: &[u8], depth: usize) -> Option<(&[u8], &[u8])> {
    let mut at = octets;
    loop {
        if let Some(rest) = at.strip_prefix(&[0, 0]) {
            return Some((octets.get(..octets.len().checked_sub(at.len())?)?, rest));
        }
        at = read(at, depth.checked_sub(1)?)?.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definite_and_indefinite_lengths_say_the_same() {
        let definite = [0x30, 0x05, 0x02, 0x01, 0x07, 0x05, 0x00];
        let indefinite = [0x30, 0x80, 0x02, 0x01, 0x07, 0x05, 0x00, 0x00, 0x00];
        for octets in [&definite[..], &indefinite[..]] {
            let value = Reader::new(octets).expect(tag::SEQUENCE).unwrap();
            assert_eq!(value.content, &definite[2..]);
            assert_eq!(value.whole, octets);
        }
    }

    #[test]
    fn octet_strings_in_pieces_are_joined() {
        let value =
            Reader::new(&[0x24, 0x80, 0x04, 0x01, b'a', 0x04, 0x02, b'b', b'c', 0x00, 0x00]).any().unwrap();
        assert_eq!(value.octets().unwrap(), b"abc");
    }

    #[test]
    fn what_is_cut_off_or_too_deep_is_refused() {
        for bad in [
            &[0x30][..],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80, 0x02, 0x01, 0x00],
            &[0x04, 0x80, 0, 0],
            &[0x1F, 0x01, 0],
        ] {
            assert_eq!(Reader::new(bad).any(), None, "{bad:x?}");
        }
        let deep = [0x30, 0x80].repeat(100_000);
        assert_eq!(Reader::new(&deep).any(), None);
    }
}
