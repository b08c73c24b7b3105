//! A place in the text, and the few ways in which the scan goes on from there.

/// What was not yet looked at.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Octets that remain.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Whether `text` stood here; it is passed then.
    pub(super) fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The same without regard to ASCII case.
    pub(super) fn take_ignoring_case(&mut self, text: &str) -> bool {
        let here = self.rest.get(..text.len()).is_some_and(|found| found.eq_ignore_ascii_case(text));
        if here {
            self.pass(text.len());
        }
        here
    }

    /// What stands before the next `end`, which is passed, too; `None` where there is none.
    pub(super) fn until(&mut self, end: &str) -> Option<&'a str> {
        let at = match end.as_bytes() {
            [octet] => memchr::memchr(*octet, self.rest.as_bytes())?,
            _ => memchr::memmem::find(self.rest.as_bytes(), end.as_bytes())?,
        };
        let found = self.pass(at);
        self.pass(end.len());
        Some(found)
    }

    /// What stands before the first ASCII octet that `stops`, or all that remains.
    pub(super) fn before(&mut self, stops: impl Fn(u8) -> bool) -> &'a str {
        let at = self.rest.bytes().position(|octet| octet.is_ascii() && stops(octet));
        self.pass(at.unwrap_or(self.rest.len()))
    }

    /// Text up to the next markup or reference.
    pub(super) fn text(&mut self) -> &'a str {
        let at = memchr::memchr2(b'<', b'&', self.rest.as_bytes());
        self.pass(at.unwrap_or(self.rest.len()))
    }

    pub(super) fn skip_white_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Goes on by `length` octets, which must end between characters.
    fn pass(&mut self, length: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        passed
    }
}
