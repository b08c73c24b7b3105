//! One case on one server: what the engine says, what the client saw, what the origin got.

use std::sync::atomic::{AtomicUsize, Ordering};

use stopgap_rules::{Connection, Outcome, Request};

use crate::books::Book;
use crate::case::Case;
use crate::client::{Client, Seen};
use crate::mutate::UNDERSCORES;
use crate::origin::{Arrived, Origin};
use crate::server::Server;
use crate::tally::Tally;

/// Requests that are sent before the first of them is answered.
const PIPELINED: usize = 8;

/// What must happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It reaches the origin.
    Pass,
    /// The client sees this, and the origin nothing.
    Refusal(Seen),
    /// The engine cannot read it: a server must not make an attack of it.
    Unreadable,
}

/// Everything that comparing needs.
pub struct Field<'a> {
    pub books: &'a [Book],
    pub origin: &'a Origin,
    pub seed: u64,
    pub tokens: AtomicUsize,
}

/// A case that was sent.
struct Sent {
    number: u64,
    case: Case,
    token: usize,
    expected: Expected,
}

impl Field<'_> {
    /// Sends the cases of a book with these numbers to its site on a server.
    pub fn compare(&self, server: &Server, book: usize, numbers: std::ops::Range<u64>) -> Tally {
        let mut tally = Tally::default();
        let Some(address) = server.sites[book] else { return tally };
        let mut client = Client::new(address);
        let mut batch: Vec<(Sent, Vec<u8>)> = Vec::new();
        for number in numbers {
            let case = Case::new(self.seed, self.books, book, number);
            let (sent, octets) = self.prepare(server, address.port(), book, number, case);
            let last = !sent.case.is_quiet() || sent.expected != Expected::Pass;
            batch.push((sent, octets));
            if last || batch.len() == PIPELINED {
                self.exchange(server, book, &mut client, std::mem::take(&mut batch), &mut tally);
            }
        }
        self.exchange(server, book, &mut client, batch, &mut tally);
        tally
    }

    /// Sends attacks as HTTP/0.9 has them: an address and nothing else, not even a token. Some servers still
    /// answer that; whatever arrives is a stray.
    pub fn simple_requests(&self, servers: &[Server]) {
        for (book, server) in (0..self.books.len()).flat_map(|book| servers.iter().map(move |s| (book, s))) {
            let Some(address) = server.sites[book] else { continue };
            for seed in &self.books[book].seeds {
                let target = seed.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
                let request = [b"GET ", target, b"\r\n"].concat();
                let refused = Request::parse_head(&request, &Connection::default())
                    .is_ok_and(|request| self.books[book].engine.evaluate(&request).is_refusal());
                if refused {
                    let mut client = Client::new(address);
                    client.send(&request);
                    client.end();
                    client.answer(false);
                }
            }
        }
    }

    fn prepare(&self, server: &Server, port: u16, book: usize, number: u64, case: Case) -> (Sent, Vec<u8>) {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let octets = case.octets(&format!("{book}-{token}"));
        let connection = Connection { server_port: port, ..Connection::default() };
        let expected = match Request::parse_head(&octets, &connection) {
            Err(_) => Expected::Unreadable,
            Ok(request) => {
                let verdict = self.books[book].engine.evaluate(&request);
                match verdict.action {
                    Outcome::None | Outcome::Rewrite => Expected::Pass,
                    Outcome::AbortRequest => Expected::Refusal(server.abort),
                    Outcome::CustomResponse | Outcome::Redirect => {
                        Expected::Refusal(Seen::Status(verdict.status.unwrap_or_default()))
                    }
                }
            }
        };
        (Sent { number, case, token, expected }, octets)
    }

    fn exchange(
        &self,
        server: &Server,
        book: usize,
        client: &mut Client,
        batch: Vec<(Sent, Vec<u8>)>,
        tally: &mut Tally,
    ) {
        if batch.is_empty() {
            return;
        }
        let octets: Vec<u8> = batch.iter().flat_map(|(_, octets)| octets.iter().copied()).collect();
        client.send(&octets);
        let mut batch = batch.into_iter();
        for (sent, _) in batch.by_ref() {
            let seen = client.answer(sent.case.is_head());
            let settled = self.judge(server, book, &sent, seen, tally, false);
            if !sent.case.is_quiet() || !settled || !matches!(seen, Seen::Status(_)) {
                client.close();
            }
            if !settled {
                self.alone(server, book, client, sent, tally);
            }
            if !client.is_open() {
                break;
            }
        }
        // What followed on a connection that has ended was not answered, or not by this server's rules.
        for (sent, _) in batch {
            self.alone(server, book, client, sent, tally);
        }
    }

    /// Sends a case by itself on a new connection, with a new token: what comes is final.
    fn alone(&self, server: &Server, book: usize, client: &mut Client, sent: Sent, tally: &mut Tally) {
        let port = server.sites[book].map_or(0, |address| address.port());
        let (sent, octets) = self.prepare(server, port, book, sent.number, sent.case);
        client.close();
        client.send(&octets);
        let seen = client.answer(sent.case.is_head());
        self.judge(server, book, &sent, seen, tally, true);
        client.close();
    }

    /// Counts a case; false: it has to be sent once more, by itself.
    fn judge(
        &self,
        server: &Server,
        book: usize,
        sent: &Sent,
        seen: Seen,
        tally: &mut Tally,
        last: bool,
    ) -> bool {
        let arrived = self.origin.arrived(sent.token);
        let attack = matches!(sent.expected, Expected::Refusal(_));
        let agrees = match (sent.expected, arrived) {
            // 206, say, where the server cuts out what the client asked for.
            (Expected::Pass, Arrived::Harmless | Arrived::Attack) => {
                matches!(seen, Seen::Status(200..=299))
            }
            (Expected::Refusal(expected), Arrived::Not) => seen == expected,
            _ => false,
        };
        if agrees {
            tally.compared += 1;
            tally.refused += u64::from(attack);
            if arrived == Arrived::Attack {
                let octets = sent.case.octets("…");
                tally.changed(format!(
                    "{} on {}: {}\n  became {}",
                    self.books[book].name,
                    server.name,
                    octets.escape_ascii(),
                    self.origin.attack(sent.token)
                ));
            }
            for mutation in &sent.case.mutations {
                *tally.mutations.entry(mutation).or_default() += 1;
            }
            return true;
        }
        let by_rule =
            |seen| matches!(seen, Seen::Status(status) if self.books[book].statuses.contains(&status));
        let excuse = match (sent.expected, arrived, seen) {
            (_, Arrived::Attack, _) => None,
            (_, Arrived::Not, Seen::Status(status)) if server.own.contains(&status) => {
                Some(format!("its own {status}"))
            }
            // What arrived is what counts, and the rules let that pass.
            (Expected::Refusal(_), Arrived::Harmless, Seen::Status(200..=299))
                if server.drops_underscores && sent.case.mutations.contains(&UNDERSCORES) =>
            {
                Some("took off fields with an underscore, forwarded without harm".to_owned())
            }
            (Expected::Unreadable, Arrived::Harmless, Seen::Status(200..=299)) => {
                Some("malformed, forwarded without harm".to_owned())
            }
            (Expected::Unreadable, Arrived::Not, _) if seen == server.abort || by_rule(seen) => {
                Some("malformed, refused by the rule".to_owned())
            }
            (_, Arrived::Not, Seen::Status(200)) if server.answers_options && sent.case.is_options() => {
                Some("its own 200 to OPTIONS".to_owned())
            }
            (Expected::Unreadable, Arrived::Not, Seen::Closed) => Some("malformed, closed".to_owned()),
            _ => None,
        };
        if let Some(kind) = excuse {
            tally.excuse(kind, attack);
            return true;
        }
        if last {
            let octets = sent.case.octets("…");
            tally.disagree(format!(
                "{} on {}, case {}: expected {:?}, seen {seen:?}, origin: {arrived:?} {}\n  mutations {:?}\n  {}",
                self.books[book].name,
                server.name,
                sent.number,
                sent.expected,
                self.origin.attack(sent.token),
                sent.case.mutations,
                octets.escape_ascii()
            ));
        }
        last
    }
}
