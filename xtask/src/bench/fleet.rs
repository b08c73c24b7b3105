//! One hub and a fleet of simulated agents (`xtask/examples/fleet-agents`) over loopback: what an agent that listens
//! costs, how long a change takes to all of them, polls beside nginx with the same document as a file, and reports
//! on each database.

mod agents;
mod hub;
mod postgres;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::agents::{Agents, first_answer};
use self::hub::Hub;
use self::postgres::Cluster;
use super::cpu::{median, of_running};
use super::{Bench, nginx, report};
use crate::cargo::output;
use crate::server::Server;

/// Growth is shown by tens.
const FLEETS: [usize; 3] = [100, 1_000, 10_000];
const LARGEST: usize = 10_000;
/// Changes that are told to each fleet; the median of their p50 and p99 is shown.
const CHANGES: usize = 7;
/// Polls: rounds in turn with nginx.
const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;
/// Reports: servers, and how often each reports.
const REPORTING: usize = 500;
const REPORTS: usize = 10;

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let folder = bench.scratch.join("fleet");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let data = folder.join("hub");
    let credentials = folder.join("credentials");
    let hub = Hub::start(bench, &data, None, false)?;
    let token = hub.token()?;
    eprintln!("fleet: {LARGEST} servers join");
    let joined = Agents::enroll(bench, &hub, &credentials, LARGEST)?;
    eprintln!("{LARGEST} joined in {joined:.1} s");
    eprintln!("fleet: polls, {ROUNDS} rounds of {SECONDS} s for the hub and for nginx");
    let polls = polls(&folder, &hub, &credentials)?;
    eprintln!("polls: {polls:?}");
    drop(hub);

    let head = ["agents", "", "told: p50", "p99", "the last", "memory per agent", "of the hub in all"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for secure in [false, true] {
        for count in FLEETS {
            let way = if secure { "TLS" } else { "plain" };
            eprintln!("fleet: {count} agents listen ({way}), {CHANGES} changes");
            let hub = Hub::start(bench, &data, None, secure)?;
            let row = fleet(bench, &hub, &credentials, count, &token)?;
            eprintln!("{row:?}");
            rows.push(row);
        }
    }
    let reports = reports(bench, &folder)?;
    Ok(format!(
        "{}\nOf the time {CHANGES} changes' medians, from the first octet of the request that makes the change until \
         the agent has its event; of the memory the growth of the hub's resident set from before the first to after \
         the last connected. {LARGEST} servers joined in {joined:.0} s, {:.0} a second.\n\n{}\n{}\n\
         Made by `cargo xtask bench fleet`: hub and agents share this machine's cores; the hub is built with profile \
         `release`. {ROUNDS} rounds of polls in turn, each `wrk -t1 -c{CONNECTIONS} -d{SECONDS}s`, with the \
         credentials of {LARGEST} servers. {}.\n",
        report::table(&rows),
        LARGEST as f64 / joined,
        polls.shown(),
        reports,
        report::machine(&[("nginx", &["-v"]), ("wrk", &["-v"])]),
    ))
}

/// A hub with so many agents that listen.
fn fleet(bench: &Bench, hub: &Hub, credentials: &Path, count: usize, token: &str) -> Result<Vec<String>> {
    let before = hub.resident()?;
    let mut agents = Agents::listen(bench, hub, credentials, count, token)?;
    let after = hub.resident()?;
    let mut told = Vec::new();
    for _ in 0..CHANGES {
        told.push(agents.change()?);
    }
    let of = |part: fn(&[f64; 3]) -> f64| {
        format!("{:.0} ms", median(&told.iter().map(part).collect::<Vec<f64>>()))
    };
    Ok(vec![
        count.to_string(),
        if hub.is_secure() { "TLS" } else { "plain" }.to_owned(),
        of(|one| one[0]),
        of(|one| one[1]),
        of(|one| one[2]),
        format!("{:.1} KiB", (after - before) / count as f64),
        format!("{:.1} MiB", after / 1024.0),
    ])
}

/// Microseconds of CPU time for each answer 304.
#[derive(Debug, Default)]
struct Polls {
    hub: Vec<f64>,
    nginx: Vec<f64>,
}

impl Polls {
    fn shown(&self) -> String {
        let ratio: Vec<f64> = self.hub.iter().zip(&self.nginx).map(|(hub, nginx)| nginx / hub).collect();
        let row = |name: &str, cost: &[f64]| {
            let each = median(cost);
            vec![name.to_owned(), format!("{each:.1} µs"), format!("{:.0}", 1e6 / each)]
        };
        let head = ["polls answered with 304", "CPU time each", "a CPU second"];
        let rows =
            [head.map(str::to_owned).to_vec(), row("hub", &self.hub), row("nginx, a file", &self.nginx)];
        format!("{}\nThe hub answers {:.2} of nginx's.\n", report::table(&rows), median(&ratio))
    }
}

fn polls(folder: &Path, hub: &Hub, credentials: &Path) -> Result<Polls> {
    let one = fs::read_to_string(credentials)?;
    let one = one.lines().next().context("no credential")?;
    let bearer = format!("Authorization: Bearer {one}\r\n");
    let path = "/v1/agent/settings";
    let answer = first_answer(hub.address(), path, &bearer)?;
    let (_, document) = answer.split_once("\r\n\r\n").context("the hub's settings have no body")?;
    let nginx = nginx::file(&folder.join("nginx"), "settings", document)?;
    let tags = [tag(&answer)?, tag(&first_answer(nginx.address, "/settings", "")?)?];
    let [ours, theirs] = [("hub.lua", path, &tags[0]), ("nginx.lua", "/settings", &tags[1])].map(
        |(name, path, tag)| -> Result<_> {
            let file = folder.join(name);
            let text = SCRIPT.replace("CREDENTIALS", &credentials.to_string_lossy());
            fs::write(&file, text.replace("PATH", path).replace("TAG", &tag.replace('"', "\\\"")))?;
            Ok(file)
        },
    );
    let (ours, theirs) = (ours?, theirs?);
    for (address, path, tag) in [(hub.address(), path, &tags[0]), (nginx.address, "/settings", &tags[1])] {
        let said = first_answer(address, path, &format!("{bearer}If-None-Match: {tag}\r\n"))?;
        if !said.starts_with("HTTP/1.1 304") {
            bail!("{address} answers {:?} where it has nothing new", said.lines().next());
        }
    }
    let mut polls = Polls::default();
    for _ in 0..ROUNDS {
        polls.hub.push(measure(hub.server(), &ours)?);
        polls.nginx.push(measure(&nginx, &theirs)?);
    }
    Ok(polls)
}

fn tag(answer: &str) -> Result<String> {
    let line = |line: &str| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case("etag").then(|| value.to_owned())
    };
    answer.lines().find_map(line).context("an answer without ETag")
}

/// One round: microseconds of the server per answer.
fn measure(server: &Server, script: &Path) -> Result<f64> {
    let before = of_running(server.pid())?;
    let said = output(
        Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "-s"])
            .arg(script)
            .arg(format!("http://{}/", server.address)),
    )?;
    let after = of_running(server.pid())?;
    let count = super::gateway::counted(&said)?;
    Ok(after.saturating_sub(before).as_secs_f64() * 1e6 / count)
}

/// Every server asks in turn, as a fleet does.
const SCRIPT: &str = r#"
local all = {}
local n = 0
function init(args)
  wrk.init(args)
  for line in io.lines("CREDENTIALS") do
    local headers = { ["Host"] = wrk.headers["Host"], ["Authorization"] = "Bearer " .. line, ["If-None-Match"] = "TAG" }
    all[#all + 1] = wrk.format("GET", "PATH", headers)
  end
end
function request()
  n = n + 1
  return all[n % #all + 1]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("counted %d %d\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

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
