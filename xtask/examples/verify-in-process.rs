//! Prints the CPU time of one `stopgap_feed::verify` in microseconds: the median of many calls in
//! one process, with the trust already read. `cargo xtask bench verify` starts it.
//!
//! usage: verify-in-process DOCUMENT TRUST-FILE [RUNS]
//!
//! Under `valgrind --tool=callgrind` the difference between 11 runs and one is ten calls' instructions,
//! which no other load on the machine moves.

#![allow(clippy::print_stdout)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use stopgap_feed::trust::TrustFile;

const RUNS: usize = 1000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let document = std::fs::read(arguments.next().context("no DOCUMENT")?)?;
    let file = PathBuf::from(arguments.next().context("no TRUST-FILE")?);
    let trust: TrustFile = toml::from_str(&std::fs::read_to_string(&file)?)?;
    let runs = arguments.next().map_or(Ok(RUNS), |runs| runs.parse()).context("RUNS is no number")?;
    // Names in it are relative to it.
    let folder = file.parent().context("TRUST-FILE is in no folder")?;
    let trust = trust.load_with(|name| std::fs::read(folder.join(name)))?;
    let revocation = trust.local_revocation();
    let now = Timestamp::now();

    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let before = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        stopgap_feed::verify(&trust, &document, None, &revocation, now)?;
        times.push(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - before);
    }
    times.sort();
    let median = times.get(runs / 2).context("no run")?;
    println!("{:.1}", median.num_nanoseconds() as f64 / 1e3);
    Ok(())
}
