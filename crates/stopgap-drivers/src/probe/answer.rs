//! The octets that came back.

use httparse::{EMPTY_HEADER, Response, Status};
use stopgap_core::proof::Answer;

const FIELDS_MAX: usize = 200;

/// Whether nothing more has to be read: the head of the final answer is here, or can no longer
/// become one.
pub(super) fn is_complete(octets: &[u8]) -> bool {
    !matches!(parse(octets, None), Parsed::Partial)
}

/// What came back, where the connection is over. `header`: the field that the probe asks for.
pub(super) fn read(octets: &[u8], header: Option<&str>) -> Answer {
    match parse(octets, header) {
        Parsed::Answer(answer) => answer,
        Parsed::Partial if octets.is_empty() => Answer::Closed,
        Parsed::Partial => Answer::None("the answer ended within its head".into()),
        Parsed::Malformed(why) => Answer::None(format!("not an HTTP answer: {why}")),
    }
}

enum Parsed {
    Answer(Answer),
    Partial,
    Malformed(httparse::Error),
}

fn parse(mut octets: &[u8], header: Option<&str>) -> Parsed {
    loop {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = Response::new(&mut fields);
        let end = match response.parse(octets) {
            Ok(Status::Complete(end)) => end,
            Ok(Status::Partial) => return Parsed::Partial,
            Err(e) => return Parsed::Malformed(e),
        };
        let status = response.code.unwrap_or_default();
        // An interim answer (RFC 9110, section 15.2) precedes the real one; 101 is one.
        if (100..200).contains(&status) && status != 101 {
            octets = octets.get(end..).unwrap_or_default();
            continue;
        }
        let values = |name: &str| -> Vec<String> {
            response
                .headers
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name))
                .map(|field| String::from_utf8_lossy(field.value).into_owned())
                .collect()
        };
        let media_type = values("Content-Type")
            .first()
            .and_then(|value| value.split(';').next().map(str::trim))
            .map(str::to_ascii_lowercase);
        return Parsed::Answer(Answer::Response {
            status,
            media_type: media_type.unwrap_or_default(),
            header: header.map(values).unwrap_or_default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, media_type: &str, header: &[&str]) -> Answer {
        let header = header.iter().map(|v| (*v).to_owned()).collect();
        Answer::Response { status, media_type: media_type.into(), header }
    }

    #[test]
    fn an_answer_is_status_type_and_the_field_that_is_asked_for() {
        let octets = b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\nX: a\r\nx: b\r\n\r\nbody";
        assert_eq!(read(octets, Some("X")), response(200, "text/html", &["a", "b"]));
        assert_eq!(read(octets, None), response(200, "text/html", &[]));
        assert!(is_complete(octets));
    }

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        assert!(!is_complete(interim));
        assert_eq!(
            read(&[interim.as_slice(), b"HTTP/1.1 404 Not Found\r\n\r\n"].concat(), None),
            response(404, "", &[])
        );
    }

    #[test]
    fn nothing_is_a_refusal_and_half_a_head_is_no_proof() {
        assert_eq!(read(b"", None), Answer::Closed);
        assert!(!is_complete(b""));
        assert!(matches!(read(b"HTTP/1.1 200 OK\r\nCont", None), Answer::None(_)));
        assert!(matches!(read(b"SSH-2.0-x\r\n", None), Answer::None(_)));
        assert!(is_complete(b"SSH-2.0-x\r\n"));
    }
}
