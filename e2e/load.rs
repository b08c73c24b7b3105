//! Under a constant load: how many requests it costs when rules come and go.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::*;

const CLIENTS: usize = 4;

/// Rounds of putting on and taking off: twice as many changes.
const ROUNDS: usize = 20;

/// What clients counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    sent: u64,
    /// Without an answer, or with another than 200.
    lost: u64,
    /// Sent once more on a new connection, as a client may: no octet of an answer had come.
    retried: u64,
}

/// Keeps `CLIENTS` clients asking on kept connections while `work` is done.
fn under_load(address: std::net::SocketAddr, work: impl FnOnce()) -> Count {
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let counts = thread::scope(|scope| {
        let client = || {
            let (mut client, mut count) = (KeepAlive::new(address), Count::default());
            while !stop.load(Ordering::Relaxed) {
                count.sent += 1;
                sent.fetch_add(1, Ordering::Relaxed);
                count.lost += u64::from(client.get(BENIGN) != Some(200));
                // Constant, and not all that the machine gives: the change needs its share.
                thread::sleep(Duration::from_millis(1));
            }
            Count { retried: client.retried, ..count }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        wait_until("the load is on", || sent.load(Ordering::Relaxed) > 100);
        // A panic in here must not keep the clients going.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<Count> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        counts
    });
    counts.into_iter().fold(Count::default(), |sum, one| Count {
        sent: sum.sent + one.sent,
        lost: sum.lost + one.lost,
        retried: sum.retried + one.retried,
    })
}

/// M1 in force, and the tables of this world.
fn protect(world: &World, target: &str) {
    let publisher = world.publisher();
    publisher.write_m1(3);
    publisher.publish();
    world.config(&format!("{}{target}", publisher.table()));
    world.exchange(VULNERABLE);
}

/// The operator takes M1 off and puts it on again; clients see each change.
fn rounds(world: &World, address: std::net::SocketAddr) {
    for _ in 0..ROUNDS {
        world.ok(&["revert", "M1"]);
        assert_eq!(ask(address, ATTACK), Seen::Status(200));
        world.ok(&["unblock", "M1"]);
        assert_eq!(ask(address, ATTACK), Seen::Closed);
    }
}

#[test]
fn rules_come_and_go_in_the_gateway_without_one_lost_request() {
    let (world, origin) = (World::new(), Origin::start());
    let mut gateway = world.gateway(origin.address);
    protect(&world, &gateway.target());
    world.ok(&["apply"]);
    origin.clear();
    let count = under_load(gateway.address, || rounds(&world, gateway.address));
    println!("gateway, {} changes: {count:?}", 2 * ROUNDS);
    assert_eq!((count.lost, count.retried), (0, 0), "of {}", count.sent);
    assert!(gateway.process.runs(), "it is the same process");
    let reached = origin.log().iter().filter(|target| *target == BENIGN).count();
    assert!(
        u64::try_from(reached).unwrap() >= count.sent,
        "each was the origin's answer: {reached} {count:?}"
    );
}

/// What a reload costs is nginx's; a change is one reload and costs no more.
#[test]
fn rules_come_and_go_in_nginx_at_the_cost_of_plain_reloads() {
    if !nginx_is_here("rules_come_and_go_in_nginx_at_the_cost_of_plain_reloads") {
        return;
    }
    let (world, origin) = (World::new(), Origin::start());
    let nginx = Nginx::start(&world, &["mail.example.org"], origin.address);
    let address = nginx.address("mail.example.org");
    protect(&world, &nginx.target(&["mail.example.org"]));
    world.ok(&["agent", "hook", "nginx", "--insert"]);
    world.ok(&["apply"]);

    let plain = under_load(address, || {
        for _ in 0..2 * ROUNDS {
            let before = nginx.workers();
            nginx.reload();
            wait_until("new workers serve", || {
                let now = nginx.workers();
                !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
            });
            assert_eq!(ask(address, BENIGN), Seen::Status(200));
        }
    });
    let reloads = nginx.reloads();
    let ours = under_load(address, || rounds(&world, address));
    println!("nginx, {} plain reloads: {plain:?}", 2 * ROUNDS);
    println!("nginx, {} changes:       {ours:?}", 2 * ROUNDS);
    assert_eq!(nginx.reloads() - reloads, 2 * ROUNDS, "a change is one reload");
    assert!(ours.lost <= plain.lost, "{ours:?}, with plain reloads {plain:?}");
}

/// Sends the attack again and again while one revision replaces another: each refuses it.
fn no_attack_passes_while_revisions_change(world: &World, target: &str, address: std::net::SocketAddr) {
    let publisher = world.publisher();
    world.config(&format!("{}{target}", publisher.table()));
    world.exchange(VULNERABLE);
    let release = |revision: usize| {
        publisher.write_m1(revision);
        publisher.publish();
        world.ok(&["apply"]);
    };
    release(0);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let attacker = || {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(ask(address, ATTACK), Seen::Closed, "attack {}", sent.load(Ordering::Relaxed));
                sent.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        };
        let attackers = [scope.spawn(attacker), scope.spawn(attacker)];
        for revision in [1, 2, 3, 0, 3, 2, 1, 0] {
            let before = sent.load(Ordering::Relaxed);
            release(revision);
            // One that panicked is seen at its join.
            let goes_on = || attackers.iter().any(|attacker| !attacker.is_finished());
            wait_until("attacks go on", || sent.load(Ordering::Relaxed) > before + 10 || !goes_on());
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} attacks, none passed", sent.load(Ordering::Relaxed));
}

#[test]
fn a_replacement_in_the_gateway_has_no_unprotected_moment() {
    let (world, origin) = (World::new(), Origin::start());
    let gateway = world.gateway(origin.address);
    no_attack_passes_while_revisions_change(&world, &gateway.target(), gateway.address);
}

#[test]
fn a_replacement_in_nginx_has_no_unprotected_moment() {
    if !nginx_is_here("a_replacement_in_nginx_has_no_unprotected_moment") {
        return;
    }
    let (world, origin) = (World::new(), Origin::start());
    let nginx = Nginx::start(&world, &["mail.example.org"], origin.address);
    let target = nginx.target(&["mail.example.org"]);
    world.config(&target);
    world.ok(&["agent", "hook", "nginx", "--insert"]);
    no_attack_passes_while_revisions_change(&world, &target, nginx.address("mail.example.org"));
}
