//! Lines of a stream, of bounded length: a log of any size is read with the same memory.

use std::io::{self, Read};
use std::ops::Range;

/// The longest line that is read. Requests of more than this no server of ours takes: what nginx and Apache make
/// of 32 KiB of headers with four octets for each is 128 KiB.
pub(super) const MAX_LINE: usize = 256 * 1024;
/// Octets that are asked for at once.
const CHUNK: usize = 256 * 1024;

/// Lines, one after the other.
pub(super) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the next line begins, and the octets that are there.
    start: usize,
    filled: usize,
    ended: bool,
    /// Octets read so far.
    pub(super) read: u64,
    /// Octets moved within the buffer so far: the work that could grow where lines come in small pieces.
    #[cfg(test)]
    moved: u64,
}

/// A line without its end.
pub(super) enum Next<'a> {
    Line(&'a [u8]),
    /// Its beginning; it is longer than [`MAX_LINE`].
    TooLong(&'a [u8]),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R) -> Lines<R> {
        Lines {
            from,
            buffer: vec![0; MAX_LINE + CHUNK],
            start: 0,
            filled: 0,
            ended: false,
            read: 0,
            #[cfg(test)]
            moved: 0,
        }
    }

    /// The next line; nothing at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Next<'_>>> {
        let mut searched = 0;
        loop {
            let waiting = self.buffer.get(self.start..self.filled).unwrap_or_default();
            let end = memchr::memchr(b'\n', waiting.get(searched..).unwrap_or_default());
            if let Some(end) = end.map(|end| searched + end) {
                let from = self.start;
                self.start += end + 1;
                return Ok(self.line(from, from + end));
            }
            if waiting.len() > MAX_LINE {
                let from = self.start;
                return self.skip(from).map(Some);
            }
            if self.ended {
                let (from, to) = (self.start, self.filled);
                self.start = to;
                return Ok(if from == to { None } else { self.line(from, to) });
            }
            searched = waiting.len();
            self.fill()?;
        }
    }

    fn line(&self, from: usize, to: usize) -> Option<Next<'_>> {
        let line = self.buffer.get(from..to)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(if line.len() > MAX_LINE { Next::TooLong(line) } else { Next::Line(line) })
    }

    /// Goes on behind a line that is too long, of which the beginning stays.
    fn skip(&mut self, from: usize) -> io::Result<Next<'_>> {
        const KEPT: usize = 4 * 1024;
        self.move_to_front(from..from + KEPT);
        loop {
            let read = self.read_into(KEPT)?;
            let fresh = self.buffer.get(KEPT..KEPT + read).unwrap_or_default();
            let end = memchr::memchr(b'\n', fresh);
            if read == 0 || end.is_some() {
                self.start = KEPT + end.map_or(read, |end| end + 1);
                self.filled = KEPT + read;
                return Ok(Next::TooLong(self.buffer.get(..KEPT).unwrap_or_default()));
            }
        }
    }

    /// Reads on behind what is there. That is moved to the front only where little room is left: a pipe may bring
    /// a few octets at a time, and each must not cost a move of the line that they end.
    fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.filled < CHUNK / 2 {
            self.move_to_front(self.start..self.filled);
            self.filled -= self.start;
            self.start = 0;
        }
        let read = self.read_into(self.filled)?;
        self.filled += read;
        Ok(())
    }

    fn move_to_front(&mut self, octets: Range<usize>) {
        #[cfg(test)]
        {
            self.moved += octets.len() as u64;
        }
        self.buffer.copy_within(octets, 0);
    }

    fn read_into(&mut self, at: usize) -> io::Result<usize> {
        let free = self.buffer.get_mut(at..).unwrap_or_default();
        let read = loop {
            match self.from.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ended |= read == 0;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many octets at once.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn all(text: &[u8], at_once: usize) -> Vec<(bool, Vec<u8>)> {
        let mut lines = Lines::new(Slowly(text, at_once));
        let mut found = Vec::new();
        while let Some(next) = lines.next().unwrap() {
            found.push(match next {
                Next::Line(line) => (true, line.to_vec()),
                Next::TooLong(line) => (false, line[..3].to_vec()),
            });
        }
        assert_eq!(lines.read, text.len() as u64);
        // A move follows 128 KiB at least, and is of one line at most, or of the 4 KiB kept of a long one.
        assert!(lines.moved <= 2 * lines.read, "{} octets moved for {}", lines.moved, lines.read);
        assert_eq!(lines.buffer.len(), MAX_LINE + CHUNK, "no line makes it larger");
        found
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"one\r\n\ntwo\nlast";
        let expected: Vec<(bool, Vec<u8>)> =
            [&b"one"[..], b"", b"two", b"last"].map(|line| (true, line.to_vec())).into();
        for at_once in 1..20 {
            assert_eq!(all(text, at_once), expected, "{at_once}");
        }
        assert_eq!(all(b"", 9), []);
    }

    #[test]
    fn lines_that_come_octet_by_octet_are_not_moved_with_each() {
        let line = [vec![b'x'; MAX_LINE - 1], b"\n".to_vec()].concat();
        let text = [b"a\nb\n".as_slice(), &line, &line].concat();
        let lengths: Vec<usize> = all(&text, 1).iter().map(|(_, line)| line.len()).collect();
        assert_eq!(lengths, [1, 1, MAX_LINE - 1, MAX_LINE - 1]);
    }

    #[test]
    fn a_line_of_many_megabytes_is_skipped_and_the_next_one_read() {
        let long = vec![b'x'; 3 * 1024 * 1024];
        let just_fits = vec![b'y'; MAX_LINE];
        let text = [b"a\n", long.as_slice(), b"\nb\n", &just_fits, b"\n", &long].concat();
        for at_once in [1_000, 70_000, usize::MAX] {
            let found = all(&text, at_once);
            let kinds: Vec<(bool, usize)> = found.iter().map(|(whole, line)| (*whole, line.len())).collect();
            assert_eq!(kinds, [(true, 1), (false, 3), (true, 1), (true, MAX_LINE), (false, 3)], "{at_once}");
        }
    }
}
