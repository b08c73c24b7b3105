//! A short text that takes no memory of its own.

use super::MAX_LENGTH;
use std::cmp::Ordering;
use std::ops::Deref;

/// At most [`MAX_LENGTH`] bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    length: usize,
    bytes: [u8; MAX_LENGTH],
}

impl Text {
    pub(super) const EMPTY: Text = Text { length: 0, bytes: [0; MAX_LENGTH] };

    pub(super) fn of(char: char) -> Text {
        let mut text = Text::EMPTY;
        char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| text.push(byte));
        text
    }

    /// Nothing where it is full; whoever pushes has looked.
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
    }

    /// Both, unless that is too long.
    pub(super) fn followed_by(&self, other: &Text) -> Option<Text> {
        let mut text = *self;
        let end = self.length + other.length;
        text.bytes.get_mut(self.length..end)?.copy_from_slice(other);
        text.length = end;
        Some(text)
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        (**self).cmp(other)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
