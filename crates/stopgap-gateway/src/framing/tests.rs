use super::*;

const LIMITS: FramingLimits = FramingLimits { bytes: 512, fields: 8 };

/// Feeds `input` in pieces of `size`, keeping what did not pass, as the guard does.
fn feed(input: &[u8], size: usize) -> (Vec<u8>, u64, Option<Refusal>, Framing) {
    let mut framing = Framing::new(LIMITS);
    let (mut held, mut passed, mut heads) = (Vec::new(), Vec::new(), 0);
    for piece in input.chunks(size) {
        held.extend_from_slice(piece);
        let fed = framing.feed(&held);
        passed.extend(held.drain(..fed.pass));
        heads += fed.heads;
        if fed.refusal.is_some() {
            return (passed, heads, fed.refusal, framing);
        }
    }
    (passed, heads, None, framing)
}

/// The refusal of `input`, which must be the same however the octets are cut.
fn refusal(input: &str) -> Option<Refusal> {
    let whole = feed(input.as_bytes(), input.len());
    for size in 1..input.len() {
        let cut = feed(input.as_bytes(), size);
        assert_eq!((cut.1, cut.2), (whole.1, whole.2), "cut to {size}: {input:?}");
        assert!(input.as_bytes().starts_with(&cut.0), "cut to {size}: {input:?}");
    }
    whole.2
}

#[test]
fn what_others_may_read_differently_is_refused() {
    use Refusal::*;
    for (head, expected) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", Nul),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", FoldedField),
        ("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", FoldedField),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EmptyLines),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET /\r\nHost: a\r\n\r\n", RequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", RequestLine),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Target),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", FieldLine),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", FieldLine),
        ("GET / HTTP/1.1\r\n\r\n", MissingHost),
        ("GET / HTTP/1.0\r\n\r\n", MissingHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", SecondHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", InvalidHost),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", ContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n", SecondContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", TwoLengths),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", TwoLengths),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", TransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", TransferEncoding),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncoding,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", TransferEncoding),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingIn10),
    ] {
        assert_eq!(refusal(head), Some(expected), "{head:?}");
    }
}

#[test]
fn broken_chunks_are_refused() {
    use Refusal::*;
    for (body, expected) in [
        ("\r\n", ChunkSize),
        ("x\r\n", ChunkSize),
        ("-1\r\n", ChunkSize),
        ("0x1\r\na\r\n", ChunkSize),
        ("1 \r\na\r\n", ChunkSize),
        ("1\na\r\n", ChunkSize),
        ("1\rxa", ChunkSize),
        ("1000000000000000\r\n", ChunkSize),
        ("0000000000000001\r\n", ChunkSize),
        ("1;a\nb\r\na\r\n", ChunkExtension),
        ("1;a\0\r\na\r\n", ChunkExtension),
        ("1\r\nab", ChunkEnd),
        ("1\r\na\n", ChunkEnd),
        ("1\r\na\rx", ChunkEnd),
        ("0\r\nX: y\n\r\n", Trailer),
        ("0\r\n X: y\r\n\r\n", Trailer),
        ("0\r\nX: y\rz\r\n\r\n", Trailer),
        ("0\r\nX: \0\r\n\r\n", Trailer),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(refusal(&input), Some(expected), "{body:?}");
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(300));
    let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{long}");
    assert_eq!(feed(input.as_bytes(), input.len()).2, Some(ChunkExtension));
    let many = "X: y\r\n".repeat(200);
    let input = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{many}\r\n");
    assert_eq!(feed(input.as_bytes(), input.len()).2, Some(Trailer));
}

#[test]
fn ordinary_requests_pass_one_behind_the_other_however_they_are_cut() {
    let input = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\
        GET http://A:80/x?y HTTP/1.1\r\nHost:\t a:80 \r\n\r\n\
        OPTIONS * HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n\
        GET /empty HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\nGET /in HTTP/1.1\r\nHost: b\n\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
        1a;ext=\"v\"\r\nGET /chunk HTTP/1.1\nHost: \r\n00\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n\
        GET /last HTTP/1.1\r\nHost: a\r\n\r\n";
    for size in 1..=input.len() {
        let (passed, heads, refusal, framing) = feed(input.as_bytes(), size);
        assert_eq!(refusal, None, "cut to {size}");
        assert_eq!(passed, input.as_bytes(), "cut to {size}");
        assert_eq!(heads, 7, "cut to {size}");
        assert!(!framing.in_body());
    }
}

#[test]
fn a_refused_head_does_not_pass_but_those_before_it_do() {
    let good = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!("{good}{good}GET /2 HTTP/1.1\r\n\r\n{good}");
    let (passed, heads, refusal, _) = feed(input.as_bytes(), input.len());
    assert_eq!((passed.len(), heads, refusal), (2 * good.len(), 2, Some(Refusal::MissingHost)));
}

#[test]
fn a_head_is_bounded_in_octets_and_fields_before_it_is_complete() {
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(600));
    assert_eq!(refusal(&endless), Some(Refusal::HeadTooLarge));
    let whole = format!("{endless}\r\n\r\n");
    assert_eq!(refusal(&whole), Some(Refusal::HeadTooLarge));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(8));
    assert_eq!(refusal(&fields), Some(Refusal::TooManyFields));
}

#[test]
fn an_upgrade_waits_for_its_answer() {
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!("{head}{next}");
    for accepted in [true, false] {
        let mut framing = Framing::new(LIMITS);
        assert_eq!(framing.feed(bytes.as_bytes()), Fed { pass: head.len(), heads: 1, refusal: None });
        assert!(framing.awaits_upgrade());
        assert_eq!(framing.feed(next.as_bytes()).pass, 0);
        framing.decide_upgrade(accepted);
        let heads = u64::from(!accepted);
        assert_eq!(framing.feed(next.as_bytes()), Fed { pass: next.len(), heads, refusal: None });
        let refusal = (!accepted).then_some(Refusal::BareLineFeed);
        assert_eq!(framing.feed(b"\xff\n\n").refusal, refusal);
    }
}

#[test]
fn only_a_websocket_without_a_body_is_an_upgrade() {
    for fields in [
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut framing = Framing::new(LIMITS);
        assert_eq!(framing.feed(head.as_bytes()).pass, head.len());
        assert!(!framing.awaits_upgrade(), "{fields:?}");
    }
}

/// Whatever comes: no panic, nothing passes twice, and cutting the input changes nothing.
#[test]
fn mutated_input_is_decided_the_same_however_it_is_cut() {
    let seed =
        b"POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound as u64).unwrap()
    };
    let octets = b"\r\n\0 \t:;,0aF/*#%\xff";
    let (mut refused, mut passed) = (0, 0);
    for _ in 0..20_000 {
        let mut input = seed.to_vec();
        for _ in 0..1 + next(3) {
            let at = next(input.len());
            match next(3) {
                0 => input[at] = octets[next(octets.len())],
                1 => input.insert(at, octets[next(octets.len())]),
                _ => drop(input.remove(at)),
            }
        }
        let whole = feed(&input, input.len());
        let cut = feed(&input, 1 + next(40));
        assert_eq!((cut.1, cut.2), (whole.1, whole.2), "{:?}", String::from_utf8_lossy(&input));
        if whole.2.is_some() { refused += 1 } else { passed += 1 }
    }
    assert!(refused > 5_000 && passed > 2_000, "{refused} refused, {passed} passed");
}
