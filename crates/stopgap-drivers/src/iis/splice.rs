//! What two versions of a file differ in, octet by octet, as places that a person can look at one by one.
//!
//! ```text
//!   before, after --diff--> splices        spliced(before, splices) = after        unspliced(after, splices) = before
//! ```
//!
//! Lines that each version has once are what holds the two together; between them, what is the same at both ends of a
//! gap is left out. How the change came about is not known here.

use std::collections::HashMap;
use std::ops::Range;

use stopgap_core::plan::{Octets, Splice};

/// A stretch of the file before and of the file after.
type Gap = (Range<usize>, Range<usize>);

/// Where two versions differ, in order. `words` says in words what goes out and comes in.
pub(super) fn diff(before: &[u8], after: &[u8], words: impl Fn(&[u8], &[u8]) -> String) -> Vec<Splice> {
    let mut gaps = Vec::new();
    for gap in between_anchors(before, after) {
        gaps.extend(trimmed(before, after, gap));
    }
    gaps.into_iter()
        .map(|(out, into)| {
            let (cut, put) = (slice(before, &out), slice(after, &into));
            // What comes before is as in the file after.
            Splice {
                at: into.start,
                what: words(cut, put),
                cut: Octets(cut.to_vec()),
                put: Octets(put.to_vec()),
            }
        })
        .collect()
}

/// The file with the splices made; nothing where it is not the one that they are for.
pub(super) fn spliced(octets: &[u8], splices: &[Splice]) -> Option<Vec<u8>> {
    let mut octets = octets.to_vec();
    for splice in splices {
        replace(&mut octets, splice.at, &splice.cut.0, &splice.put.0)?;
    }
    Some(octets)
}

/// The file before the splices were made; nothing where it is not the one that they came to.
pub(super) fn unspliced(octets: &[u8], splices: &[Splice]) -> Option<Vec<u8>> {
    let mut octets = octets.to_vec();
    for splice in splices.iter().rev() {
        replace(&mut octets, splice.at, &splice.put.0, &splice.cut.0)?;
    }
    Some(octets)
}

fn replace(octets: &mut Vec<u8>, at: usize, cut: &[u8], put: &[u8]) -> Option<()> {
    let end = at.checked_add(cut.len())?;
    if octets.get(at..end)? != cut {
        return None;
    }
    octets.splice(at..end, put.iter().copied());
    Some(())
}

fn slice<'o>(octets: &'o [u8], range: &Range<usize>) -> &'o [u8] {
    octets.get(range.clone()).unwrap_or_default()
}

/// A gap without what is the same at its ends; nothing where it is the same as a whole.
fn trimmed(before: &[u8], after: &[u8], (out, into): Gap) -> Option<Gap> {
    let (one, other) = (slice(before, &out), slice(after, &into));
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = one.iter().zip(other).take_while(same).count();
    let rest = one.len().min(other.len()) - head;
    let tail = one.iter().rev().zip(other.iter().rev()).take(rest).take_while(same).count();
    let gap = (out.start + head..out.end - tail, into.start + head..into.end - tail);
    (!gap.0.is_empty() || !gap.1.is_empty()).then_some(gap)
}

/// The gaps between lines that both versions have, once each and in the same order.
fn between_anchors(before: &[u8], after: &[u8]) -> Vec<Gap> {
    let Some((out, into)) = trimmed(before, after, (0..before.len(), 0..after.len())) else {
        return Vec::new();
    };
    if out.is_empty() || into.is_empty() {
        return vec![(out, into)];
    }
    let (ours, theirs) = (once(before, &out), once(after, &into));
    let mut pairs: Vec<Gap> =
        ours.into_iter().filter_map(|(line, place)| Some((place, theirs.get(line)?.clone()))).collect();
    pairs.sort_by_key(|(place, _)| place.start);
    let (mut gaps, mut at) = (Vec::new(), (out.start, into.start));
    for (place, other) in rising(&pairs) {
        gaps.push((at.0..place.start, at.1..other.start));
        at = (place.end, other.end);
    }
    gaps.push((at.0..out.end, at.1..into.end));
    gaps
}

/// The lines that a stretch has once, with their places.
fn once<'o>(octets: &'o [u8], range: &Range<usize>) -> HashMap<&'o [u8], Range<usize>> {
    let mut found: HashMap<&[u8], Option<Range<usize>>> = HashMap::new();
    let mut at = range.start;
    for line in slice(octets, range).split_inclusive(|octet| *octet == b'\n') {
        let place = at..at + line.len();
        at = place.end;
        found.entry(line).and_modify(|place| *place = None).or_insert(Some(place));
    }
    found.into_iter().filter_map(|(line, place)| Some((line, place?))).collect()
}

/// The longest row of pairs that rises in both versions (patience sorting).
fn rising(pairs: &[Gap]) -> Vec<Gap> {
    // For each length, the row that ends lowest: its last pair; for each pair, the one before it in its row.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::new();
    let start = |nth: &usize| pairs.get(*nth).map_or(0, |(_, other)| other.start);
    for (nth, (_, other)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| start(end) < other.start);
        previous.push(length.checked_sub(1).and_then(|length| ends.get(length).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = nth,
            None => ends.push(nth),
        }
    }
    let mut row = Vec::new();
    let mut at = ends.last().copied();
    while let Some(pair) = at.and_then(|nth| pairs.get(nth)) {
        row.push(pair.clone());
        at = at.and_then(|nth| previous.get(nth).copied().flatten());
    }
    row.reverse();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> Vec<(usize, String, String)> {
        let splices = diff(before.as_bytes(), after.as_bytes(), |_, _| String::new());
        assert_eq!(spliced(before.as_bytes(), &splices).unwrap(), after.as_bytes());
        assert_eq!(unspliced(after.as_bytes(), &splices).unwrap(), before.as_bytes());
        let text = |octets: &Octets| String::from_utf8(octets.0.clone()).unwrap();
        splices.iter().map(|s| (s.at, text(&s.cut), text(&s.put))).collect()
    }

    #[test]
    fn changes_far_apart_are_places_of_their_own() {
        assert_eq!(shown("a\nb\nc\n", "a\nb\nc\n"), []);
        assert_eq!(shown("a\nb\nc\n", "a\nx\nb\nc\n"), [(2, String::new(), "x\n".into())]);
        let (one, two) = ("<add a/>\nx\ny\nz\n</c>\n", "<add a b/>\nx\ny\nz\n<l/>\n</c>\n");
        assert_eq!(shown(one, two), [(6, String::new(), " b".into()), (16, String::new(), "\n<l/>".into())]);
        assert_eq!(shown("x\ny\nw\n", "y\nx\nv\n").len(), 2, "what changed places goes out and comes in");
    }

    #[test]
    fn any_two_texts_lead_to_each_other() {
        // All texts of up to five lines of three kinds, against each other.
        let lines = ["p\n", "q\n", "r"];
        let texts: Vec<String> = (0..243_usize)
            .map(|n| (0..5).map(|at| lines[n / 3_usize.pow(at) % 3]).take(n % 6).collect())
            .collect();
        for before in &texts {
            for after in &texts {
                shown(before, after);
            }
        }
    }

    #[test]
    fn a_file_that_is_another_one_is_not_spliced() {
        let splices = diff(b"abc", b"aXc", |_, _| String::new());
        assert_eq!(spliced(b"a?c", &splices), None);
        assert_eq!(unspliced(b"abc", &splices), None);
        assert_eq!(spliced(b"", &splices), None);
    }
}
