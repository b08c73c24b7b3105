//! Prints the time of one `stopgap_feed::verify` in microseconds: the median of many calls in one
//! process, with the trust already read. `cargo xtask bench verify` starts it.
//!
//! usage: verify-in-process DOCUMENT TRUST-FILE

#![allow(clippy::print_stdout)]

use std::time::Instant;

use anyhow::{Context, Result};
use jiff::Timestamp;
use stopgap_feed::trust::TrustFile;

const RUNS: usize = 1000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let document = std::fs::read(arguments.next().context("no DOCUMENT")?)?;
    let trust: TrustFile =
        toml::from_str(&std::fs::read_to_string(arguments.next().context("no TRUST-FILE")?)?)?;
    let trust = trust.load_with(|path| std::fs::read(path))?;
    let revocation = trust.local_revocation();
    let now = Timestamp::now();

    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        stopgap_feed::verify(&trust, &document, None, &revocation, now)?;
        times.push(started.elapsed());
    }
    times.sort();
    let median = times.get(RUNS / 2).context("no run")?;
    println!("{}", median.as_secs_f64() * 1e6);
    Ok(())
}
