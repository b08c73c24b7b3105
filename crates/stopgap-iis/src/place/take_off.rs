//! Taking off what was placed: exactly the recorded octets, also in a file that is broken by now or that others have
//! edited since. What cannot be found as it was written is named, for a person to delete.

use memchr::memmem;

use super::Insertion;

/// A file without what was placed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOff {
    /// The file.
    pub octets: Vec<u8>,
    /// Frames that hold entries of somebody else's, or of other pieces: they stay, and say nothing by themselves.
    pub frames: Vec<Insertion>,
    /// What a person has to look at.
    pub by_hand: Vec<ByHand>,
}

/// An entry that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// Its name, as the file writes it.
    pub name: String,
    /// What was written, as text.
    pub text: String,
    /// Why it stays.
    pub why: Remains,
}

/// Why an entry was not taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// Its name is there, and the octets are not those that were written.
    Changed,
    /// The octets are there more often than they were written.
    TooOften {
        /// How often.
        found: usize,
        /// How often they were written.
        written: usize,
    },
}

/// Takes recorded insertions out of a file. Those of one file are given together, whatever their order. An entry
/// that is not there any more has been taken off by somebody else, and is no fault.
pub fn take_off(octets: &[u8], recorded: &[Insertion]) -> TakenOff {
    let mut octets = octets.to_vec();
    // What has the same octets at several places is one text that was written several times.
    let mut left: Vec<(&Insertion, usize)> = Vec::new();
    for one in recorded.iter().filter(|one| !one.octets.is_empty()) {
        let same = |other: &Insertion| other.octets == one.octets && other.replaced == one.replaced;
        match left.iter_mut().find(|(other, _)| same(other)) {
            Some((_, times)) => *times += 1,
            None => left.push((one, 1)),
        }
    }
    // Longer ones first: an entry on a line of its own holds the same one that stands on its parent's line.
    left.sort_by_key(|(one, _)| (one.name.is_none(), std::cmp::Reverse(one.octets.len())));
    // An entry can stand in an element that another one brought, so taking one off can uncover the next.
    loop {
        let before = left.len();
        left.retain(|(one, written)| {
            let found = memmem::find_iter(&octets, &one.octets).count();
            if found == 0 || found > *written {
                return true;
            }
            octets = without(&octets, one);
            false
        });
        if left.len() == before {
            break;
        }
    }
    let mut out = TakenOff { octets, frames: Vec::new(), by_hand: Vec::new() };
    for (one, written) in left {
        let Some(name) = &one.name else {
            out.frames.push(one.clone());
            continue;
        };
        let found = memmem::find_iter(&out.octets, &one.octets).count();
        let why = if found > written { Remains::TooOften { found, written } } else { Remains::Changed };
        if found > 0 || is_named(&out.octets, name) {
            out.by_hand.push(ByHand { name: name.clone(), text: text(&one.octets), why });
        }
    }
    out
}

fn without(octets: &[u8], one: &Insertion) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut at = 0;
    for found in memmem::find_iter(octets, &one.octets) {
        out.extend_from_slice(octets.get(at..found).unwrap_or(&[]));
        out.extend_from_slice(&one.replaced);
        at = found + one.octets.len();
    }
    out.extend_from_slice(octets.get(at..).unwrap_or(&[]));
    out
}

/// Whether the name stands in the file, in any of the encodings that are read.
fn is_named(octets: &[u8], name: &str) -> bool {
    let wide = |bytes: fn(u16) -> [u8; 2]| name.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    [name.as_bytes().to_vec(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)]
        .iter()
        .any(|needle| memmem::find(octets, needle).is_some())
}

/// To be shown: an octet of zero belongs to UTF-16.
fn text(octets: &[u8]) -> String {
    let plain: Vec<u8> = octets.iter().copied().filter(|octet| *octet != 0).collect();
    String::from_utf8_lossy(&plain).trim().to_owned()
}
