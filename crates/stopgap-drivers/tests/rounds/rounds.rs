//! What a change costs, beside plain reloads, and what it lets through.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stopgap_core::plan::{Change, Wanted};
use stopgap_drivers::Machine;

use crate::attacks::Attacks;
use crate::common::m1;
use crate::common::server::is_here;
use crate::load::{Counts, under_load};
use crate::origin::{self, Reached};
use crate::server::{Kind, Server};
use crate::setting;

/// Rounds with every run of the tests; `STOPGAP_ROUNDS=100` is the long run.
const ROUNDS: usize = 10;

/// Changes and plain reloads take turns, so that neither has the machine's quiet minute for itself.
const TURN: usize = 5;

/// What was measured.
#[derive(Debug, Default)]
struct Figures {
    /// Beside as many plain reloads as `ours` had changes.
    plain: Vec<Counts>,
    ours: Vec<Counts>,
    /// How long each plain reload took.
    reload: Vec<Duration>,
    /// Each change that put the rules on.
    on: Vec<On>,
    /// Reloads while there were changes, by the server's log.
    reloads: usize,
}

/// What a test asserts.
struct Sums {
    plain: Counts,
    ours: Counts,
    changes: usize,
    reloads: usize,
}

/// How long one change took that put the rules on.
#[derive(Debug, Clone, Copy)]
struct On {
    check: Duration,
    apply: Duration,
    /// From the beginning of `apply` until the last attack reached the origin; nothing, where none did.
    attacks: Duration,
}

/// The rounds of one server. `None`: it is not here, which was said.
fn measure(kind: Kind, test: &str) -> Option<Sums> {
    if !is_here(kind.binary(), test) || !is_here("/usr/bin/wrk", test) {
        return None;
    }
    let _turn = crate::turn();
    let rounds = setting("STOPGAP_ROUNDS", ROUNDS);
    let (origin, reached) = origin::start();
    let server = Server::start(kind, origin);
    let mut figures = Figures::default();
    let attacks = Attacks::during(server.address, |attacks| {
        let load = |work: &mut dyn FnMut()| under_load(server.address, server.folder.path(), &reached, work);
        for (turn, first) in (0..rounds).step_by(TURN).enumerate() {
            let some = first..rounds.min(first + TURN);
            let mut reload = Vec::new();
            let mut plain = || reload.extend((0..2 * some.len()).map(|_| server.reload()));
            let mut on = Vec::new();
            let mut reloads = 0;
            let mut ours = || {
                let before = server.reloads();
                on.extend(some.clone().map(|number| round(&server, attacks, &reached, number)));
                reloads = server.reloads() - before;
            };
            if turn.is_multiple_of(2) {
                figures.plain.push(load(&mut plain));
                figures.ours.push(load(&mut ours));
            } else {
                figures.ours.push(load(&mut ours));
                figures.plain.push(load(&mut plain));
            }
            figures.on.append(&mut on);
            figures.reload.append(&mut reload);
            figures.reloads += reloads;
        }
    });
    print(kind, rounds, &figures, &attacks);
    let passed = reached.passed.lock().unwrap();
    assert_eq!(
        *passed,
        Vec::<String>::new(),
        "attacks that reached the origin while the rules were in force"
    );
    let (plain, ours) = (figures.plain.into_iter().sum(), figures.ours.into_iter().sum());
    Some(Sums { plain, ours, changes: 2 * rounds, reloads: figures.reloads })
}

/// The rules are put on, and taken off again: by the change's own record, or as an operator does it.
fn round(server: &Server, attacks: &Attacks, reached: &Reached, number: usize) -> On {
    let driver = &server.driver;
    attacks.pass();
    let change = change(server, &m1());
    let start = Instant::now();
    driver.check(&Machine, &change).unwrap();
    let check = start.elapsed();
    let start = Instant::now();
    driver.apply(&Machine, &change).unwrap_or_else(|e| panic!("round {number}: {e}: {}", server.log()));
    let apply = start.elapsed();
    attacks.in_force();
    let last = *reached.last.lock().unwrap();
    let attacks_until = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(start));
    if number.is_multiple_of(2) {
        attacks.not_in_force();
        driver.revert(&Machine, &change).unwrap_or_else(|e| panic!("round {number}: {e}: {}", server.log()));
    } else {
        driver.settle(&Machine, &change).unwrap();
        let off = self::change(server, &[]);
        driver.check(&Machine, &off).unwrap();
        attacks.not_in_force();
        driver.apply(&Machine, &off).unwrap_or_else(|e| panic!("round {number}: {e}: {}", server.log()));
        driver.settle(&Machine, &off).unwrap();
    }
    attacks.pass();
    On { check, apply, attacks: attacks_until }
}

fn change(server: &Server, wanted: &[Wanted]) -> Change {
    let rendered = server.driver.render(wanted, &server.driver.observe(&Machine).unwrap());
    assert_eq!(rendered.refused, []);
    rendered.change.expect("a change")
}

fn print(kind: Kind, rounds: usize, figures: &Figures, attacks: &Attacks) {
    let count = |what: &str, counts: &[Counts]| {
        let sum: Counts = counts.iter().copied().sum();
        for (kind_of, sum) in [("kept connections", sum.kept), ("new connections", sum.new)] {
            println!(
                "{kind:?}, {} {what}, {kind_of}: {} requests, closed {}, failed {}",
                2 * rounds,
                sum.sent,
                sum.closed,
                sum.failed
            );
        }
    };
    count("plain reloads", &figures.plain);
    count("changes", &figures.ours);
    println!("{kind:?}: {} reloads for the changes", figures.reloads);
    println!(
        "{kind:?}: {} attacks refused while in force, none passed; {} passed before",
        attacks.refused.load(Ordering::Relaxed),
        attacks.passed.load(Ordering::Relaxed)
    );
    let times = |what: &str, mut all: Vec<Duration>| {
        all.sort();
        let at = |share: usize| all[(all.len() * share).div_ceil(100).saturating_sub(1)];
        println!("{kind:?}: {what}: median {:.1?}, p99 {:.1?}", at(50), at(99));
    };
    let each = |of: fn(&On) -> Duration| figures.on.iter().map(of).collect();
    times("a plain reload", figures.reload.clone());
    times("the server's own test before a change", each(|on| on.check));
    times("apply, at whose end it is in force", each(|on| on.apply));
    times("the last attack that passed, after the beginning of apply", each(|on| on.attacks));
}

/// A change is one reload, and costs what one costs.
fn costs_plain_reloads(kind: Kind, test: &str) {
    let Some(Sums { plain, ours, changes, reloads }) = measure(kind, test) else { return };
    assert_eq!(reloads, changes, "a change is one reload");
    let said = format!("{ours:?}, with plain reloads {plain:?}");
    assert!(ours.new.closed + ours.new.failed <= plain.new.closed + plain.new.failed, "{said}");
    assert!(ours.kept.failed <= plain.kept.failed, "{said}");
    // Which of the kept connections are idle at that moment is chance. The standard deviation of the difference of two
    // such counts is the root of their sum; beyond four of them, it is no chance.
    let (ours, plain) = (ours.kept.closed as f64, plain.kept.closed as f64);
    assert!(ours <= plain + 4.0 * (ours + plain).sqrt() + 4.0, "{said}");
}

#[test]
fn rounds_on_nginx_cost_no_more_than_plain_reloads() {
    costs_plain_reloads(Kind::Nginx, "rounds_on_nginx_cost_no_more_than_plain_reloads");
}

#[test]
fn rounds_on_apache_cost_no_more_than_plain_reloads() {
    costs_plain_reloads(Kind::Apache, "rounds_on_apache_cost_no_more_than_plain_reloads");
}

#[test]
fn rounds_on_haproxy_without_a_socket_cost_no_more_than_plain_reloads() {
    let test = "rounds_on_haproxy_without_a_socket_cost_no_more_than_plain_reloads";
    costs_plain_reloads(Kind::HaproxyReload, test);
}

#[test]
fn rounds_on_haproxy_through_its_socket_cost_no_request() {
    let test = "rounds_on_haproxy_through_its_socket_cost_no_request";
    let Some(Sums { ours, reloads, .. }) = measure(Kind::HaproxySocket, test) else { return };
    assert_eq!(reloads, 0);
    let Counts { kept, new } = ours;
    assert_eq!([kept.closed, kept.failed, new.closed, new.failed], [0; 4], "{ours:?}");
}
