//! Polls that are answered 304: the hub beside nginx, which has the same document as a file.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::cpu::{median, of_running};
use super::super::{gateway, nginx, report};
use super::agents::first_answer;
use super::hub::Hub;
use crate::cargo::output;
use crate::server::Server;

/// Rounds in turn with nginx.
pub const ROUNDS: usize = 5;
pub const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;

/// Microseconds of CPU time for each answer 304.
#[derive(Debug, Default)]
pub struct Polls {
    hub: Vec<f64>,
    nginx: Vec<f64>,
    /// Octets of an answer of each.
    octets: [usize; 2],
}

impl Polls {
    /// The table.
    pub fn shown(&self) -> String {
        let mut ratio: Vec<f64> = self.hub.iter().zip(&self.nginx).map(|(hub, nginx)| nginx / hub).collect();
        let first = ratio.remove(0);
        let row = |name: &str, cost: &[f64]| {
            let each = median(cost);
            vec![name.to_owned(), format!("{each:.1} µs"), format!("{:.0}", 1e6 / each)]
        };
        let head = ["polls answered with 304", "CPU time each", "a CPU second"];
        let rows =
            [head.map(str::to_owned).to_vec(), row("hub", &self.hub), row("nginx, a file", &self.nginx)];
        let lowest = ratio.iter().copied().fold(f64::INFINITY, f64::min);
        let [ours, theirs] = self.octets;
        format!(
            "{}\n{ROUNDS} rounds in turn, each `wrk -t1 -c{CONNECTIONS} -d{SECONDS}s` over connections that are kept, every \
             request with the next server's credential; nginx with one worker, `open_file_cache` and no log. The hub \
             answers {first:.2} of nginx's in the first round, in which it looks up every credential, {:.2} in the \
             middle one of the others and {lowest:.2} in the lowest. Its answer has {ours} octets, nginx's {theirs}.\n",
            report::table(&rows),
            median(&ratio)
        )
    }
}

/// Rounds in turn.
pub fn polls(folder: &Path, hub: &Hub, credentials: &Path) -> Result<Polls> {
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
    let mut polls = Polls::default();
    let both = polls
        .octets
        .iter_mut()
        .zip([(hub.address(), path, &tags[0]), (nginx.address, "/settings", &tags[1])]);
    for (octets, (address, path, tag)) in both {
        let said = first_answer(address, path, &format!("{bearer}If-None-Match: {tag}\r\n"))?;
        if !said.starts_with("HTTP/1.1 304") {
            bail!("{address} answers {:?} where it has nothing new", said.lines().next());
        }
        // Asked for the last time, each names the connection's end.
        *octets = said.replace("Connection: close\r\n", "").replace("connection: close\r\n", "").len();
    }
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
    let count = gateway::counted(&said)?;
    Ok(after.saturating_sub(before).as_secs_f64() * 1e6 / count)
}

/// Every server asks in turn, as a fleet does.
const SCRIPT: &str = r#"
local all = {}
local n = 0
for line in io.lines("CREDENTIALS") do
  local headers = { ["Host"] = "hub", ["Authorization"] = "Bearer " .. line, ["If-None-Match"] = "TAG" }
  all[#all + 1] = wrk.format("GET", "PATH", headers)
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
