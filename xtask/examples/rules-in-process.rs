//! Prints what the rule engine takes in one process, as lines `name value`; `cargo xtask bench rules` starts
//! it. CPU time throughout.
//!
//! usage: rules-in-process RULES.xml REQUESTS [repeat]
//!
//! REQUESTS: request heads with LF line ends, an empty line behind each.
//!
//! - `evaluate`: nanoseconds of `Engine::evaluate`, the request being at hand
//! - `head`: nanoseconds of `Request::parse_head` and `Engine::evaluate`
//! - `compile`: microseconds from the rule set to an engine that is in force, from nothing; `after`: the same for
//!   the engine after it, where the first of the rules is gone; `parse`: from text to rule set
//! - `memory`: bytes that one engine takes, and `warm`: bytes once every request has been evaluated
//! - `refused`: requests that a rule stopped

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet};

/// How long each loop runs at least.
const NANOSECONDS: i64 = 200_000_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rules = std::fs::read_to_string(arguments.next().context("no RULES.xml")?)?;
    let requests = std::fs::read_to_string(arguments.next().context("no REQUESTS")?)?;
    let heads: Vec<&str> = requests.split_terminator("\n\n").collect();
    let limits = EngineLimits::default();
    let connection = Connection::default();

    let (parse, set) = timed(|| RuleSet::parse(&rules))?;
    let set = set?;
    let mut compile = Vec::new();
    let in_force: RwLock<Option<Arc<Engine>>> = RwLock::new(None);
    let mut engines = Vec::new();
    let resident = memory()?;
    for _ in 0..5 {
        let (time, engine) = timed(|| {
            let engine = Engine::compile(&set, &limits).map(Arc::new);
            if let (Ok(engine), Ok(mut in_force)) = (&engine, in_force.write()) {
                *in_force = Some(engine.clone());
            }
            engine
        })?;
        compile.push(time);
        engines.push(engine?);
    }
    compile.sort_unstable();
    println!("memory {}", memory()?.saturating_sub(resident) / 5);
    println!("parse {:.1}", parse as f64 / 1e3);
    println!("compile {:.1}", compile.get(2).copied().unwrap_or_default() as f64 / 1e3);

    let engine = engines.pop().context("no engine")?;
    let mut changed = set.clone();
    changed.rules.drain(..changed.rules.len().min(1));
    let mut after = Vec::new();
    for _ in 0..5 {
        let (time, next) = timed(|| {
            let next = Engine::compile_after(&engine, &changed, &limits).map(Arc::new);
            if let (Ok(next), Ok(mut in_force)) = (&next, in_force.write()) {
                *in_force = Some(next.clone());
            }
            next
        })?;
        after.push(time);
        engines.push(next?);
    }
    after.sort_unstable();
    println!("after {:.1}", after.get(2).copied().unwrap_or_default() as f64 / 1e3);
    let parsed: Vec<Request> = heads
        .iter()
        .map(|head| Request::parse_head(head.as_bytes(), &connection))
        .collect::<Result<_, _>>()?;
    let resident = memory()?;
    println!("refused {}", parsed.iter().filter(|request| engine.evaluate(request).is_refusal()).count());
    println!("warm {}", memory()?.saturating_sub(resident));
    println!(
        "evaluate {:.1}",
        each(parsed.len(), |at| {
            parsed.get(at).map(|request| engine.evaluate(black_box(request)));
        })?
    );
    println!(
        "head {:.1}",
        each(heads.len(), |at| {
            let head = heads.get(at).map(|head| Request::parse_head(black_box(head.as_bytes()), &connection));
            if let Some(Ok(request)) = head {
                black_box(engine.evaluate(&request));
            }
        })?
    );
    Ok(())
}

/// Nanoseconds per call, over as many rounds as last long enough.
fn each(count: usize, call: impl Fn(usize)) -> Result<f64> {
    let mut calls = 0;
    let before = now()?;
    loop {
        (0..count).for_each(&call);
        calls += count;
        let spent = now()? - before;
        if spent >= NANOSECONDS {
            return Ok(spent as f64 / calls as f64);
        }
    }
}

fn timed<T>(call: impl FnOnce() -> T) -> Result<(i64, T)> {
    let before = now()?;
    let value = call();
    Ok((now()? - before, value))
}

fn now() -> Result<i64> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.num_nanoseconds())
}

/// Resident bytes.
fn memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
