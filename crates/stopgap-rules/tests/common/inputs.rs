//! Generated requests and patterns for the translations: text that often holds what the rules look for.

use super::M1_REQUESTS;
use super::dice::Dice;

const PIECES: [&[u8]; 70] = [
    b"X-BEResource=",
    b"~",
    b"/",
    b"X-AnonResource-Backend",
    b"autodiscover",
    b"powershell",
    b"autodiscover.json",
    b"PowerShell",
    b".json",
    b"json",
    b"@",
    b"a",
    b"b",
    b"c",
    b"foo",
    b"bar",
    b"/",
    b"//",
    b"?",
    b"&",
    b"=",
    b".",
    b"..",
    b"%",
    b"%4",
    b"%zz",
    b"%25",
    b"%2541",
    b"%0a",
    b"%0D",
    b"%e2%80%a8",
    b"%E2%80%A9",
    b"%e2%80",
    b"%E2\x80%a8",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xe2\x80",
    b"\xe2",
    b"\xc3\xa9",
    b"%c3%A9",
    b"%C3",
    b"\xc3",
    b"\xff",
    b"%ff",
    b"\xf0\x9f\x98\x80",
    b"\xf0\x9f\x98",
    b"%f0%9F",
    b"\xf4\x90\x80\x80",
    b"\xed\xa0\x80",
    b"\xe0\x80\x80",
    b"%80",
    b"\x80\x80",
    b"x",
    b"y",
    b"%2f",
    b"%5c",
    b"\\",
    b"+",
    b"%00",
    b"%20",
    b"s",
    b"%73",
    b"0",
    b"%EF%BF%BD",
    b"#",
    b",",
    b";",
    b"%2c",
    b"%3B",
    b"https://",
];

/// Text that often holds what the rules look for, a little changed.
pub fn text(dice: &mut Dice) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..dice.roll(9) {
        // The first few are what M1 and the cookie rules look for.
        let piece: &[u8] = if dice.roll(3) == 0 { dice.pick(&PIECES[..11]) } else { dice.pick(&PIECES) };
        let how = dice.roll(8);
        for (at, byte) in piece.iter().enumerate() {
            match how {
                0 => text.extend(format!("%{byte:02x}").bytes()),
                1 if dice.roll(3) == 0 => text.extend(format!("%{byte:02X}").bytes()),
                2 if dice.roll(3) == 0 => text.extend(format!("%25{byte:02x}").bytes()),
                3 => text.push(byte.to_ascii_uppercase()),
                4 if at == piece.len() / 2 && dice.roll(3) == 0 => {}
                _ => text.push(*byte),
            }
        }
    }
    text
}

/// A target of a request to a site.
pub fn target(dice: &mut Dice, site: &str) -> Vec<u8> {
    let mut target = Vec::new();
    match dice.roll(12) {
        0 => {
            let known: &str = dice.pick(&M1_REQUESTS);
            target.extend(known.bytes());
            let cut = dice.roll(target.len() + 1);
            let tail = target.split_off(cut);
            target.extend(text(dice));
            target.extend(tail);
        }
        // nginx and Apache answer 400 to a broken percent sequence in a path, but not in a query string.
        1..=6 => {
            target.extend(b"/x?");
            target.extend(text(dice));
        }
        7 => {
            target.extend(format!("http://{site}").bytes());
            let start: &[u8] = dice.pick(&[b"/", b"?", b"/a?"]);
            target.extend(start);
            target.extend(text(dice));
        }
        _ => {
            target.push(b'/');
            target.extend(text(dice));
        }
    }
    target
}

/// A request to a site.
pub fn head(site: &str, target: &[u8], cookie: Option<&[u8]>) -> Vec<u8> {
    let mut head = [b"GET ", target, b" HTTP/1.1\r\nHost: ", site.as_bytes(), b"\r\n"].concat();
    if let Some(cookie) = cookie {
        head.extend([b"Cookie: ", cookie, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

/// Patterns over every part of the linear form.
pub const PATTERNS: [&str; 54] = [
    "a",
    "a.b",
    "a.*b",
    "a.+b",
    "(.*)a(.*)b(.*)",
    "^/a",
    "^/.*b",
    "b$",
    "^/x.a$",
    "a.*b$",
    "[^/]foo",
    "[^a]*",
    ".",
    "..b",
    "a..",
    "a.+",
    ".+a.+b.+",
    "[ab]{2}c",
    "foo|bar",
    "foo.*bar|^/a|x$",
    "(?=.*a)(?=.*b)c",
    "(?=.*a)b",
    "(?=a)(?=.b)..c",
    "(?=a.*b)a.*c",
    "^(?!.*foo)(?=.*bar)",
    "^(?=.*a)(?!.*b)",
    "é",
    "é.*a",
    "a.*é",
    "[^\\x00-\\x7f]a",
    "a[^b].",
    "\\ufffd",
    "\\ufffda",
    "%",
    "%.*a",
    "\\u2028",
    "\\n",
    "a[^]*b",
    "^[^]*a.?",
    "s",
    "\\d",
    "a\\sb",
    "^.*$",
    "$",
    "^$",
    ", ",
    "; ",
    "^, ",
    ",.$",
    "[,;] .",
    "\\s[^/]",
    "[^]{3}, .*a",
    "https?://",
    "^/$",
];
