//! One hub and a fleet of simulated agents (`xtask/examples/fleet-agents`) over loopback: what an agent that listens
//! costs, how long a change takes to all of them, polls beside nginx with the same document as a file, pages and lists
//! over the whole fleet, and reports on each database.

mod agents;
mod hub;
mod lists;
mod polls;
mod postgres;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use self::agents::Agents;
use self::hub::Hub;
use self::lists::lists;
use self::polls::{ROUNDS, SECONDS, polls};
use self::postgres::Cluster;
use super::cpu::{median, of_running};
use super::{Bench, report};

/// Growth is shown by tens.
const FLEETS: [usize; 3] = [100, 1_000, 10_000];
const LARGEST: usize = 10_000;
/// Changes that are told to each fleet.
const CHANGES: usize = 10;
/// Reports: servers, and how often each reports.
const REPORTING: usize = 500;
const REPORTS: usize = 10;

/// A part that is measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Polls, beside nginx
    Polls,
    /// A change, told to fleets of each size
    Push,
    /// Pages and lists over the whole fleet
    Lists,
    /// Reports, on each database
    Reports,
}

/// The section of the page; `only`: of this part.
pub fn run(bench: &Bench, only: Option<Part>) -> Result<String> {
    let wanted = |part| only.is_none_or(|only| only == part);
    let folder = bench.scratch.join("fleet");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let data = folder.join("hub");
    let credentials = folder.join("credentials");
    let mut sections = Vec::new();
    let hub = Hub::start(bench, &data, None, false)?;
    let token = hub.token()?;
    eprintln!("fleet: {LARGEST} servers join");
    let joined = Agents::enroll(bench, &hub, &credentials, LARGEST)?;
    eprintln!("{LARGEST} joined in {joined:.1} s");
    if wanted(Part::Polls) {
        eprintln!("fleet: polls, {ROUNDS} rounds of {SECONDS} s for the hub and for nginx");
        let polls = polls(&folder, &hub, &credentials)?;
        eprintln!("{polls:?}");
        sections.push(polls.shown());
    }
    drop(hub);
    if wanted(Part::Push) {
        sections.push(push(bench, &data, &credentials, &token)?);
    }
    if wanted(Part::Lists) {
        let hub = Hub::start(bench, &data, None, false)?;
        eprintln!("fleet: each of {LARGEST} servers reports");
        Agents::report(bench, &hub, &credentials, LARGEST, 1)?;
        sections.push(lists(&hub, &token)?);
    }
    if wanted(Part::Reports) {
        sections.push(reports(bench, &folder)?);
    }
    Ok(format!(
        "{}\nMade by `cargo xtask bench fleet`: hub and agents share this machine's cores; the hub is built with profile \
         `release`, and has SQLite where nothing else is said. {LARGEST} servers joined in {joined:.0} s, {:.0} a \
         second. {}.\n",
        sections.join("\n"),
        LARGEST as f64 / joined,
        report::machine(&[("nginx", &["-v"]), ("wrk", &["-v"])]),
    ))
}

/// Fleets of each size, that are told of changes.
fn push(bench: &Bench, data: &Path, credentials: &Path, token: &str) -> Result<String> {
    let head = [
        "agents",
        "",
        "told: p50",
        "p99",
        "the worst p99",
        "CPU time: hub",
        "agents'",
        "memory per agent",
        "of the hub in all",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for secure in [false, true] {
        for count in FLEETS {
            let way = if secure { "TLS" } else { "plain" };
            eprintln!("fleet: {count} agents listen ({way}), {CHANGES} changes");
            let hub = Hub::start(bench, data, None, secure)?;
            rows.push(fleet(bench, &hub, credentials, count, token)?);
            eprintln!("{:?}", rows.last());
        }
    }
    Ok(format!(
        "{}\nOf the time {CHANGES} changes' medians, and the largest p99 of them, from the first octet of the request that \
         makes the change until the agent has its event; of CPU time each change's share, of the hub's process and of \
         that of all agents, which share the cores; of the memory the growth of the hub's resident set from before the \
         first to after the last connected, which for few agents is mostly what the hub itself grows by.\n",
        report::table(&rows)
    ))
}

/// A hub with so many agents that listen.
fn fleet(bench: &Bench, hub: &Hub, credentials: &Path, count: usize, token: &str) -> Result<Vec<String>> {
    let before = hub.resident()?;
    let mut agents = Agents::listen(bench, hub, credentials, count, token)?;
    let after = hub.resident()?;
    let processes = [hub.server().pid(), agents.pid()];
    let [hubs, theirs] = processes.map(of_running);
    let mut told = Vec::new();
    for _ in 0..CHANGES {
        told.push(agents.change()?);
    }
    eprintln!("{told:?}");
    let of = |part: fn(&[f64; 3]) -> f64| {
        format!("{:.0} ms", median(&told.iter().map(part).collect::<Vec<f64>>()))
    };
    let worst = told.iter().map(|one| one[1]).fold(0.0, f64::max);
    let spent = |pid, before| -> Result<String> {
        let spent: Duration = of_running(pid)?.saturating_sub(before);
        Ok(format!("{:.0} ms", spent.as_secs_f64() * 1e3 / CHANGES as f64))
    };
    let [hubs, theirs] = [spent(processes[0], hubs?)?, spent(processes[1], theirs?)?];
    Ok(vec![
        count.to_string(),
        if hub.is_secure() { "TLS" } else { "plain" }.to_owned(),
        of(|one| one[0]),
        of(|one| one[1]),
        format!("{worst:.0} ms"),
        hubs,
        theirs,
        format!("{:.1} KiB", (after - before) / count as f64),
        format!("{:.1} MiB", after / 1024.0),
    ])
}

/// Reports that are kept, on each database.
fn reports(bench: &Bench, folder: &Path) -> Result<String> {
    let head = ["reports", "kept a second", "CPU time of the hub each"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let cluster = Cluster::start()?;
    if cluster.is_none() {
        eprintln!("no PostgreSQL on this machine: not measured");
    }
    let databases = [("SQLite", None), ("PostgreSQL", cluster.as_ref().map(Cluster::url))];
    for (name, database) in databases.into_iter().filter(|(name, url)| *name == "SQLite" || url.is_some()) {
        eprintln!("fleet: {REPORTING} servers report {REPORTS} times each, {name}");
        let data = folder.join(name);
        let hub = Hub::start(bench, &data, database.as_deref(), false)?;
        let credentials = folder.join(format!("credentials-{name}"));
        Agents::enroll(bench, &hub, &credentials, REPORTING)?;
        let before = of_running(hub.server().pid())?;
        let took = Agents::report(bench, &hub, &credentials, REPORTING, REPORTS)?;
        let spent = of_running(hub.server().pid())?.saturating_sub(before).as_secs_f64();
        let count = (REPORTING * REPORTS) as f64;
        let each = format!("{:.2} ms", spent * 1e3 / count);
        rows.push(vec![name.to_owned(), format!("{:.0}", count / took), each]);
        eprintln!("{:?}", rows.last());
    }
    Ok(format!(
        "{}\n{REPORTING} servers, {REPORTS} reports each, 32 at a time: twenty mitigations, two of which changed, and two \
         events in each; every one is a transaction that is on the disk before it is answered.\n",
        report::table(&rows)
    ))
}
