//! The values of attributes and texts: times, durations, numbers, request heads.

use jiff::{SignedDuration, Timestamp};

/// What [`time`] expects.
pub(super) const TIME: &str = "a time in UTC such as 2026-11-22T03:00:00Z";

/// RFC 3339 in UTC: `T` and `Z` as they are, no offset, no leap second.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let in_form = bytes.get(10) == Some(&b'T') && bytes.len() >= 20 && bytes.last() == Some(&b'Z');
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'T' | b'Z'));
    if in_form && plain { text.parse().ok() } else { None }
}

/// Decimal digits only: no sign, no blank.
pub(crate) fn serial(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What [`seconds`] expects.
pub(super) const DURATION: &str = "an ISO 8601 duration such as PT0S, PT10M or PT24H";

/// An ISO 8601 duration of hours, minutes and whole seconds. Days and months are not of one length.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let rest = text.strip_prefix("PT")?;
    if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'H' | b'M' | b'S')) {
        return None;
    }
    let duration: SignedDuration = text.parse().ok()?;
    u64::try_from(duration.as_secs()).ok()
}

/// 0 to 100.
pub(super) fn percent(text: &str) -> Option<u8> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|percent| *percent <= 100)
}

/// What [`request_head`] expects.
pub(super) const REQUEST: &str = "a request head: GET or HEAD, a target, HTTP/1.1, then headers and no body";

/// A request head as a feed writes it, indented between tags, to what is sent: CRLF line ends and an
/// empty line at the end. Only GET and HEAD: a probe runs on live servers and must be inert.
pub(super) fn request_head(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    let (first, headers) = lines.split_first()?;
    let mut words = first.split(' ');
    let method = words.next()?;
    let target = words.next()?;
    let in_form = matches!(method, "GET" | "HEAD")
        && (target.starts_with('/') && !target.bytes().any(|b| b.is_ascii_control()))
        && words.next() == Some("HTTP/1.1")
        && words.next().is_none();
    let is_header = |line: &&str| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        // A probe has no body: a server that is told of one would wait for it.
        let tells_of_body =
            ["content-length", "transfer-encoding"].iter().any(|body| name.eq_ignore_ascii_case(body));
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) && !tells_of_body
    };
    if !in_form || !headers.iter().all(is_header) || lines.iter().any(|l| l.contains(char::is_control)) {
        return None;
    }
    Some(lines.join("\r\n") + "\r\n\r\n")
}

/// The name of a service or pool: printable, of a length that a service manager takes.
pub(super) fn service_name(text: &str) -> Option<String> {
    let in_form = !text.is_empty() && text.len() <= 256 && !text.contains(char::is_control);
    in_form.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_only() {
        assert_eq!(time("2026-11-22T03:00:00Z").unwrap().as_second(), 1_795_316_400);
        assert!(time("2026-11-22T03:00:00.25Z").is_some());
        for bad in
            ["", "2026-11-22", "2026-11-22 03:00:00Z", "2026-11-22T03:00:00+01:00", "2026-11-22t03:00:00z"]
        {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_hours_minutes_seconds() {
        for (text, expected) in [("PT0S", 0), ("PT10M", 600), ("PT1H30M", 5400), ("PT24H", 86_400)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in ["", "PT", "10m", "P1D", "-PT1S", "PT1.5S", "PT1S ", "PT99999999999999999999H"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_have_no_sign_and_no_blank() {
        assert_eq!(serial("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+1", "-1", " 1", "18446744073709551616"] {
            assert_eq!(serial(bad), None, "{bad}");
        }
        assert_eq!((percent("100"), percent("101"), percent("")), (Some(100), None, None));
    }

    #[test]
    fn a_request_head_is_inert_and_ends_in_an_empty_line() {
        let head = request_head("\n    GET /a?b HTTP/1.1\n    Cookie: X=1\n  ").unwrap();
        assert_eq!(head, "GET /a?b HTTP/1.1\r\nCookie: X=1\r\n\r\n");
        for bad in [
            "",
            "POST / HTTP/1.1",
            "GET / HTTP/1.0",
            "GET a HTTP/1.1",
            "GET / HTTP/1.1\n\nbody",
            "GET  / HTTP/1.1",
        ] {
            assert_eq!(request_head(bad), None, "{bad}");
        }
    }
}
