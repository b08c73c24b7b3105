//! The comparison: a slice of it with every run of the tests, the long one by `cargo xtask equivalence`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::books;
use crate::compare::Field;
use crate::origin::Origin;
use crate::server::{self, Server};
use crate::tally::{Tally, grouped, table};

/// Verdicts of the slice.
const SLICE: u64 = 60_000;
/// Generated rule sets of it.
const GENERATED: usize = 16;
/// Clients at a time.
const CLIENTS: usize = 8;
/// Cases that a client takes at once.
const UNIT: u64 = 250;

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

#[test]
fn every_server_gives_the_verdict_of_the_engine() {
    let test = "every_server_gives_the_verdict_of_the_engine";
    let wanted = setting("STOPGAP_EQUIVALENCE_VERDICTS", SLICE);
    let seed = setting("STOPGAP_EQUIVALENCE_SEED", 1);
    let generated = setting("STOPGAP_EQUIVALENCE_GENERATED", GENERATED as u64) as usize;
    let books = Arc::new(books::all(seed, generated));
    let origin = Origin::start(books.clone());
    let folder = tempfile::Builder::new().prefix("stopgap-servers-").tempdir().unwrap();
    let servers = server::all(folder.path(), &books, origin.address, test);
    let sites: u64 = servers.iter().map(|server| server.sites.iter().flatten().count() as u64).sum();
    // Some cases are excused, so there are more cases than verdicts wanted.
    let each = (wanted * 3 / 2).div_ceil(sites).next_multiple_of(50);

    let field = Field { books: &books, origin: &origin, seed, tokens: AtomicUsize::new(0) };
    let tallies = run(&field, &servers, each);
    field.simple_requests(&servers);
    let report = report(&servers, &tallies, &books, each, seed);
    println!("{report}");
    if let Ok(path) = std::env::var("STOPGAP_EQUIVALENCE_REPORT") {
        std::fs::write(path, &report).unwrap();
    }
    let mut disagreements = 0;
    for (server, tally) in servers.iter().zip(&tallies) {
        for told in tally.shown.iter().chain(tally.changed_shown.iter().take(3)) {
            println!("{told}");
        }
        disagreements += tally.disagreements;
        assert!(server.sites.iter().any(Option::is_some), "{}: it takes no rule at all", server.name);
        assert!(tally.refused * 20 > tally.compared, "{}: too few attacks: {}", server.name, tally.refused);
    }
    assert_eq!(origin.strays(), Vec::<String>::new(), "requests that nobody sent reached the origin");
    assert_eq!(disagreements, 0, "verdicts that are not the engine's: see above");
    let compared: u64 = tallies.iter().map(|tally| tally.compared).sum();
    assert!(compared >= wanted, "{compared} of {wanted}");
}

/// What a comparison is worth: a translation that misses one way to write one letter does not get through.
#[test]
fn a_translation_that_misses_one_percent_form_is_seen() {
    if !server::is_here("nginx", "a_translation_that_misses_one_percent_form_is_seen") {
        return;
    }
    let books = Arc::new(books::all(1, 0));
    let origin = Origin::start(books.clone());
    let folder = tempfile::Builder::new().prefix("stopgap-servers-").tempdir().unwrap();
    let nginx = server::nginx::start_with(folder.path(), &books, origin.address, |config| {
        let broken = config.http.replace("[46][Ff]", "[46]F");
        assert_ne!(broken, config.http, "the letter o is written in another way than this test knows");
        stopgap_rules::translate::nginx::NginxConfig { http: broken, ..config }
    });
    let field = Field { books: &books, origin: &origin, seed: 1, tokens: AtomicUsize::new(0) };
    let tally = run(&field, std::slice::from_ref(&nginx), 500).remove(0);
    println!("{} of {} seen", tally.disagreements, tally.compared);
    let reached = |told: &String| told.contains("expected Refusal(Closed), seen Status(200), origin: Attack");
    assert!(tally.shown.iter().any(reached), "{:#?}", tally.shown);
}

/// A tally for each server.
fn run(field: &Field, servers: &[Server], each: u64) -> Vec<Tally> {
    // Server by server within a book, so that all of them are busy at any time.
    let units: Vec<(usize, usize, u64)> = (0..each)
        .step_by(usize::try_from(UNIT).unwrap())
        .flat_map(|from| {
            (0..field.books.len())
                .flat_map(move |book| (0..servers.len()).map(move |server| (server, book, from)))
        })
        .filter(|(server, book, _)| servers[*server].sites[*book].is_some())
        .collect();
    let next = AtomicUsize::new(0);
    let tallies = Mutex::new(vec![Tally::default(); servers.len()]);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some((server, book, from)) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let to = (from + UNIT).min(each);
                    let tally = field.compare(&servers[*server], *book, *from..to);
                    tallies.lock().unwrap()[*server].add(tally);
                }
            });
        }
    });
    tallies.into_inner().unwrap()
}

fn report(servers: &[Server], tallies: &[Tally], books: &[books::Book], each: u64, seed: u64) -> String {
    let head = ["server", "rule sets", "verdicts compared", "of them refused", "excused", "disagreements"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (server, tally) in servers.iter().zip(tallies) {
        let share = tally.refused as f64 * 100.0 / tally.compared.max(1) as f64;
        rows.push(vec![
            server.name.to_owned(),
            format!("{} of {}", server.sites.iter().flatten().count(), books.len()),
            grouped(tally.compared),
            format!("{} ({share:.0} %)", grouped(tally.refused)),
            grouped(tally.all_excused()),
            grouped(tally.disagreements),
        ]);
    }
    let compared: u64 = tallies.iter().map(|tally| tally.compared).sum();
    rows.push(vec![
        "all".into(),
        String::new(),
        grouped(compared),
        String::new(),
        String::new(),
        String::new(),
    ]);
    let mut text = table(&rows);
    let _ = writeln!(text, "\nSeed {seed}, {each} cases for each rule set and server. Excused, by kind:\n");
    let mut rows = vec![["server", "what it did", "cases"].map(str::to_owned).to_vec()];
    for (server, tally) in servers.iter().zip(tallies) {
        for (kind, count) in &tally.excused {
            rows.push(vec![server.name.to_owned(), kind.clone(), grouped(*count)]);
        }
        let attacks = "of all these: attacks; none reached the origin".to_owned();
        rows.push(vec![server.name.to_owned(), attacks, grouped(tally.excused_attacks)]);
        if tally.changed > 0 {
            let changed = "not excused, the verdicts agree: passed, then changed into what the rules refuse";
            rows.push(vec![server.name.to_owned(), changed.to_owned(), grouped(tally.changed)]);
        }
    }
    text.push_str(&table(&rows));
    text.push_str("\nRule sets that a server cannot be told:\n\n");
    for server in servers {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (book, reason) in &server.untold {
            by_reason.entry(reason).or_default().push(book);
        }
        for (reason, names) in by_reason {
            let _ = writeln!(text, "- {}: {}: {reason}", server.name, names.join(", "));
        }
    }
    text
}
