//! One request: from a seed, by a number, always the same.

use crate::books::Book;
use crate::dice::Dice;
use crate::mutate::{self, MUTATIONS};

/// A request in parts, so that mutations can reach them.
#[derive(Debug, Clone)]
pub struct Raw {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub version: Vec<u8>,
    /// Lines without their ends.
    pub fields: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    /// Octets before the request line.
    pub before: Vec<u8>,
    pub line_end: &'static [u8],
    /// Nothing in it makes a server answer out of order, close the connection or wait.
    pub quiet: bool,
}

/// A request, ready to be sent once it has a token.
pub struct Case {
    raw: Raw,
    /// What was done to it.
    pub mutations: Vec<&'static str>,
}

/// The field that carries the token; the first of each request, so that no mutation of another reaches it.
pub const TOKEN: &str = "Stopgap-Case";

impl Case {
    /// The case of a book with this number.
    pub fn new(seed: u64, books: &[Book], book: usize, number: u64) -> Case {
        let mut dice = Dice::new(seed ^ ((book as u64 + 1) << 40) ^ number.wrapping_mul(0x9E37_79B9));
        dice.roll(7);
        let own = &books[book].seeds;
        let mut raw = match dice.roll(10) {
            0..=6 if !own.is_empty() => read(&own[dice.roll(own.len())]),
            7 => {
                let other = &books[dice.roll(books.len())].seeds;
                if other.is_empty() { generate(&mut dice) } else { read(&other[dice.roll(other.len())]) }
            }
            _ => generate(&mut dice),
        };
        let mut mutations = Vec::new();
        let count = [0, 0, 1, 1, 1, 2, 2, 3, 4][dice.roll(9)];
        for _ in 0..count {
            let (name, mutation) = MUTATIONS[mutate::draw(&mut dice)];
            mutation(&mut raw, &mut dice);
            mutations.push(name);
        }
        Case { raw, mutations }
    }

    /// The octets, with a token.
    pub fn octets(&self, token: &str) -> Vec<u8> {
        let Raw { method, target, version, fields, body, before, line_end, .. } = &self.raw;
        let mut octets = before.clone();
        octets.extend_from_slice(method);
        octets.push(b' ');
        octets.extend_from_slice(target);
        octets.push(b' ');
        octets.extend_from_slice(version);
        octets.extend_from_slice(line_end);
        octets.extend_from_slice(format!("{TOKEN}: {token}").as_bytes());
        octets.extend_from_slice(line_end);
        for field in fields {
            octets.extend_from_slice(field);
            octets.extend_from_slice(line_end);
        }
        octets.extend_from_slice(line_end);
        octets.extend_from_slice(body);
        octets
    }

    /// Whether others may follow it on a connection before it is answered.
    pub fn is_quiet(&self) -> bool {
        self.raw.quiet
    }

    /// Whether a server might answer it without its application.
    pub fn is_options(&self) -> bool {
        self.raw.method == b"OPTIONS"
    }

    /// Whether its answer has no body.
    pub fn is_head(&self) -> bool {
        self.raw.method == b"HEAD"
    }
}

/// A head of a `.http` file in parts. What it says of a body is left out: there is none.
fn read(head: &[u8]) -> Raw {
    let mut lines = head.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap().splitn(3, |octet| *octet == b' ');
    let mut word = || words.next().unwrap_or_default().to_vec();
    let (method, target, version) = (word(), word(), word());
    let named = |line: &[u8], name: &str| {
        line.len() > name.len()
            && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            && line[name.len()] == b':'
    };
    let mut fields: Vec<Vec<u8>> = lines.take_while(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    let chunked = fields.iter().any(|line| named(line, "Transfer-Encoding"));
    fields.retain(|line| !(named(line, "Content-Length") || named(line, "Transfer-Encoding")));
    if chunked || !matches!(&*method, b"GET" | b"HEAD" | b"OPTIONS") {
        fields.push(b"Content-Length: 0".to_vec());
    }
    if !fields.iter().any(|line| named(line, "Host")) {
        fields.insert(0, b"Host: www.example.org".to_vec());
    }
    let version = if version.is_empty() { b"HTTP/1.1".to_vec() } else { version };
    let quiet = !fields.iter().any(|line| named(line, "Connection") || named(line, "Expect"));
    Raw { method, target, version, fields, body: Vec::new(), before: Vec::new(), line_end: b"\r\n", quiet }
}

/// A request of pieces.
fn generate(dice: &mut Dice) -> Raw {
    let method: &str = dice.pick(&["GET", "GET", "GET", "GET", "GET", "HEAD", "OPTIONS"]);
    let mut target = b"/".to_vec();
    // Servers are stricter with paths than with query strings.
    if dice.roll(3) != 0 {
        target.extend(b"x?");
    }
    target.extend(mutate::text(dice));
    let mut fields = vec![b"Host: www.example.org".to_vec()];
    for name in ["Cookie: ", "User-Agent: ", "X-Api-Version: ", "Referer: ", "Authorization: "] {
        if dice.roll(3) == 0 {
            let mut field = name.as_bytes().to_vec();
            field.extend(mutate::text(dice));
            fields.push(field);
        }
    }
    let (version, method) = (b"HTTP/1.1".to_vec(), method.as_bytes().to_vec());
    Raw {
        method,
        target,
        version,
        fields,
        body: Vec::new(),
        before: Vec::new(),
        line_end: b"\r\n",
        quiet: true,
    }
}
