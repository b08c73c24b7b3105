//! ASN.1 as a tree that can be changed and written again with lengths that fit, so that a change reaches the
//! code behind the first length check.

use crate::Dice;

#[derive(Clone)]
pub struct Value {
    pub tag: u8,
    pub content: Content,
}

#[derive(Clone)]
pub enum Content {
    Octets(Vec<u8>),
    /// What stands before the first value: the count of unused bits of a bit string.
    Values(Vec<u8>, Vec<Value>),
}

const CONSTRUCTED: u8 = 0x20;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const DEPTH: usize = 24;

impl Value {
    pub fn octets(tag: u8, octets: &[u8]) -> Value {
        Value { tag, content: Content::Octets(octets.to_vec()) }
    }

    /// Reads one value of DER that fills `octets`.
    pub fn read(octets: &[u8]) -> Option<Value> {
        match read_all(octets, DEPTH)?.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }

    /// The same values, spelled as BER allows it: other forms of a length, and octet strings in pieces.
    /// Only outside of what `keep` says, which must stay DER.
    pub fn write_ber(&self, dice: &mut Dice, keep: &dyn Fn(&Value) -> bool) -> Vec<u8> {
        if keep(self) {
            return self.write();
        }
        let mut inside = Vec::new();
        let mut tag = self.tag;
        match &self.content {
            Content::Octets(octets) => inside.extend(octets),
            Content::Values(before, values) => {
                inside.extend(before);
                for value in values {
                    // What is inside a primitive string is octets, and not BER of this document.
                    inside.extend(match tag & CONSTRUCTED {
                        0 => value.write(),
                        _ => value.write_ber(dice, keep),
                    });
                }
            }
        }
        if tag == OCTET_STRING && inside.len() > 1 && dice.roll(2) == 0 {
            tag |= CONSTRUCTED;
            let pieces = inside.chunks(1 + dice.roll(inside.len().min(200)));
            inside = pieces.flat_map(|piece| Value::octets(OCTET_STRING, piece).write()).collect();
        }
        let form = match dice.roll(4) {
            0 if tag & CONSTRUCTED != 0 => Length::Indefinite,
            1 => Length::Long,
            _ => Length::Shortest,
        };
        let mut out = Vec::new();
        frame(tag, &inside, form, &mut out);
        out
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        let mut inside = Vec::new();
        match &self.content {
            Content::Octets(octets) => inside.extend(octets),
            Content::Values(before, values) => {
                inside.extend(before);
                values.iter().for_each(|value| value.write_to(&mut inside));
            }
        }
        frame(self.tag, &inside, Length::Shortest, out);
    }

    pub fn children(&self) -> &[Value] {
        match &self.content {
            Content::Values(_, values) => values,
            Content::Octets(_) => &[],
        }
    }

    /// The value that lies at these places, from the outside in.
    pub fn at(&mut self, places: &[usize]) -> Option<&mut Value> {
        let Some((first, rest)) = places.split_first() else { return Some(self) };
        match &mut self.content {
            Content::Values(_, values) => values.get_mut(*first)?.at(rest),
            Content::Octets(_) => None,
        }
    }

    fn count(&self) -> usize {
        1 + self.children().iter().map(Value::count).sum::<usize>()
    }

    /// The value of this number, parents before children.
    fn number(&mut self, number: &mut usize) -> Option<&mut Value> {
        if *number == 0 {
            return Some(self);
        }
        *number -= 1;
        let Content::Values(_, values) = &mut self.content else { return None };
        values.iter_mut().find_map(|value| value.number(number))
    }

    fn pick(&mut self, dice: &mut Dice) -> &mut Value {
        let mut number = (dice.roll(256) * 256 + dice.roll(256)) % self.count();
        self.number(&mut number).expect("the number is below the count")
    }

    /// Changes one value somewhere in the tree.
    pub fn change(&mut self, dice: &mut Dice) {
        let graft = self.pick(dice).clone();
        let tag = *dice.pick(TAGS);
        let place = dice.roll(64);
        let oid = dice.pick(OIDS);
        let piece = Value::read(dice.pick(PIECES)).expect("the pieces are DER");
        let at = self.pick(dice);
        let insert = |at: &mut Value, value: Value| match &mut at.content {
            Content::Values(_, values) => values.insert(place % (values.len() + 1), value),
            Content::Octets(octets) => octets.extend(value.write()),
        };
        match dice.roll(12) {
            0 => at.content = Content::Octets((0..dice.roll(40)).map(|_| dice.byte()).collect()),
            1 => at.content = Content::Octets(vec![dice.byte(); [0, 1, 2, 20, 300][dice.roll(5)]]),
            2 => at.tag = tag,
            3 => *at = Value::octets(0x06, oid),
            4 => *at = graft,
            5 => insert(at, graft),
            6 => insert(at, piece),
            7 => *at = piece,
            8 => match &mut at.content {
                Content::Values(_, values) if !values.is_empty() => {
                    values.remove(place % values.len());
                }
                Content::Values(..) => {}
                Content::Octets(octets) => octets.truncate(place % (octets.len() + 1)),
            },
            9 => match &mut at.content {
                Content::Values(_, values) if !values.is_empty() => {
                    let length = values.len();
                    values.swap(place % length, length - 1);
                }
                Content::Values(before, _) => before.push(0),
                Content::Octets(octets) => octets.push(dice.byte()),
            },
            _ => match &mut at.content {
                Content::Octets(octets) if !octets.is_empty() => {
                    let place = place % octets.len();
                    octets[place] = dice.byte();
                }
                Content::Values(_, values) if !values.is_empty() => {
                    let twice = values[place % values.len()].clone();
                    values.push(twice);
                }
                _ => {}
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Length {
    Shortest,
    /// Four octets, whatever is needed.
    Long,
    Indefinite,
}

fn frame(tag: u8, inside: &[u8], form: Length, out: &mut Vec<u8>) {
    out.push(tag);
    let length = u32::try_from(inside.len()).expect("fixtures are small");
    match (form, length) {
        (Length::Indefinite, _) => {
            out.push(0x80);
            out.extend(inside);
            out.extend([0, 0]);
            return;
        }
        (Length::Long, _) => {
            out.push(0x84);
            out.extend(length.to_be_bytes());
        }
        (Length::Shortest, 0..=0x7F) => out.push(length as u8),
        (Length::Shortest, _) => {
            let octets = length.to_be_bytes();
            let needed = &octets[octets.iter().position(|octet| *octet != 0).unwrap_or(3)..];
            out.push(0x80 | needed.len() as u8);
            out.extend(needed);
        }
    }
    out.extend(inside);
}

fn read_all(mut octets: &[u8], depth: usize) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    while let Some((tag, rest)) = octets.split_first() {
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        octets = rest;
        all.push(Value { tag: *tag, content: content_of(*tag, content, depth) });
    }
    Some(all)
}

fn content_of(tag: u8, octets: &[u8], depth: usize) -> Content {
    let (before, inside) = match tag {
        _ if depth == 0 => return Content::Octets(octets.to_vec()),
        BIT_STRING if octets.first() == Some(&0) => octets.split_at(1),
        OCTET_STRING => octets.split_at(0),
        _ if tag & CONSTRUCTED != 0 => octets.split_at(0),
        _ => return Content::Octets(octets.to_vec()),
    };
    match read_all(inside, depth - 1) {
        Some(values) if !values.is_empty() || tag & CONSTRUCTED != 0 => {
            Content::Values(before.to_vec(), values)
        }
        _ => Content::Octets(octets.to_vec()),
    }
}

const TAGS: &[&u8] = &[
    &0x01, &0x02, &0x03, &0x04, &0x05, &0x06, &0x0A, &0x0C, &0x13, &0x16, &0x17, &0x18, &0x1E, &0x24, &0x30,
    &0x31, &0x80, &0x81, &0x82, &0x86, &0xA0, &0xA1, &0xA2, &0xA3, &0xA4, &0x1F, &0x3F, &0x00,
];

/// Content of object identifiers: extensions, usages, algorithms, attributes of names.
const OIDS: &[&[u8]] = &[
    &[0x55, 0x1D, 0x0F],
    &[0x55, 0x1D, 0x13],
    &[0x55, 0x1D, 0x1E],
    &[0x55, 0x1D, 0x1F],
    &[0x55, 0x1D, 0x25],
    &[0x55, 0x1D, 0x25, 0x00],
    &[0x55, 0x1D, 0x11],
    &[0x55, 0x1D, 0x1C],
    &[0x55, 0x04, 0x03],
    &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B],
    &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01],
    &[0x2B, 0x81, 0x04, 0x00, 0x22],
    &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, 0x0C],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, 0x2F],
    &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
    &[],
];

/// Whole values: extensions, names, times, numbers.
const PIECES: &[&[u8]] = &[
    // basicConstraints: CA, critical; keyUsage: keyCertSign; extendedKeyUsage: any.
    &[0x30, 15, 6, 3, 0x55, 0x1D, 0x13, 1, 1, 0xFF, 4, 5, 0x30, 3, 1, 1, 0xFF],
    &[0x30, 14, 6, 3, 0x55, 0x1D, 0x0F, 1, 1, 0xFF, 4, 4, 3, 2, 2, 4],
    &[0x30, 15, 6, 3, 0x55, 0x1D, 0x25, 4, 8, 0x30, 6, 6, 4, 0x55, 0x1D, 0x25, 0],
    // cRLDistributionPoints: http://a.
    &[
        0x30, 25, 6, 3, 0x55, 0x1D, 0x1F, 4, 18, 0x30, 16, 0x30, 14, 0xA0, 12, 0xA0, 10, 0x86, 8, b'h', b't',
        b't', b'p', b':', b'/', b'/', b'a',
    ],
    // nameConstraints: a permitted directory name.
    &[0x30, 17, 6, 3, 0x55, 0x1D, 0x1E, 4, 10, 0x30, 8, 0xA0, 6, 0x30, 4, 0xA4, 2, 0x30, 0],
    // reasons and cRLIssuer of a distribution point; an address.
    &[0x81, 2, 1, 0x40],
    &[0xA2, 4, 0x82, 2, b'a', b'b'],
    &[0x86, 10, b'h', b't', b't', b'p', b's', b':', b'/', b'/', b'a', b'/'],
    &[0x17, 13, b'4', b'9', b'0', b'1', b'0', b'1', b'0', b'0', b'0', b'0', b'0', b'0', b'Z'],
    &[0x18, 15, b'9', b'9', b'9', b'9', b'1', b'2', b'3', b'1', b'2', b'3', b'5', b'9', b'5', b'9', b'Z'],
    &[0x18, 15, b'2', b'0', b'2', b'6', b'0', b'7', b'0', b'1', b'0', b'0', b'0', b'0', b'0', b'0', b'Z'],
    &[
        0x18, 19, b'2', b'0', b'2', b'6', b'1', b'1', b'2', b'2', b'0', b'6', b'0', b'6', b'0', b'0', b'.',
        b'0', b'0', b'1', b'Z',
    ],
    &[2, 9, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    &[2, 1, 0x80],
    &[1, 1, 0xFF],
    &[5, 0],
    &[0x30, 0],
    &[0x31, 0],
];
