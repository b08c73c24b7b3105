//! The gateway against nginx as a reverse proxy: CPU time of the proxy per request, with no rule
//! and with M1, in front of the same origin.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cpu::{median, of_running};
use super::nginx::{self, Rules};
use super::server::{Server, free_address};
use super::{Bench, report};
use crate::cargo::{output, root};

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;

/// Addresses as an Exchange server sees them, each used once. Every fourth holds one of the two
/// words that M1 looks for, so that the rule cannot be dismissed by a glance at the address.
const LOAD: &str = r#"
local n = 0
local forms = {
  "/owa/?ae=Folder&t=IPF.Note&id=%d&slUsng=0",
  "/autodiscover/autodiscover.xml?request=%d",
  "/mapi/emsmdb/?MailboxId=%08x-57c9-4c0c-8f0e-1f1ad2a1c0de@example.org",
  "/ews/exchange.asmx/%d?culture=en-US",
}
function request()
  n = n + 1
  return wrk.format("GET", string.format(forms[n % #forms + 1], n))
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("counted %d %d\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// One of the four that are compared.
struct Contestant {
    name: &'static str,
    server: Server,
    /// Microseconds per request, one a round.
    cost: Vec<f64>,
}

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let script = bench.scratch.join("load.lua");
    fs::write(&script, LOAD)?;
    let rules_file = m1(&bench.scratch)?;
    let rules = translated(bench, &rules_file)?;

    let origin = nginx::origin(&bench.scratch.join("origin"))?;
    let upstream = origin.address;
    let contestant = |name, server| Contestant { name, server, cost: Vec::new() };
    let folder = |name: &str| bench.scratch.join(name);
    let mut all = [
        contestant("nginx, no rule", nginx::proxy(&folder("plain"), upstream, &Rules::default())?),
        contestant("gateway, no rule", gateway(bench, upstream, "plain", None)?),
        contestant("nginx, M1", nginx::proxy(&folder("m1"), upstream, &rules)?),
        contestant("gateway, M1", gateway(bench, upstream, "m1", Some(&rules_file))?),
    ];
    for contestant in &all {
        same_work(contestant)?;
    }
    for _ in 0..ROUNDS {
        for contestant in &mut all {
            let cost = measure(&contestant.server, &script).with_context(|| contestant.name)?;
            contestant.cost.push(cost);
        }
    }
    Ok(section(&all))
}

fn section(all: &[Contestant; 4]) -> String {
    let [nginx_plain, gateway_plain, nginx_m1, gateway_m1] = all;
    let row = |one: &Contestant, peer: &Contestant| {
        let ratios: Vec<f64> = one.cost.iter().zip(&peer.cost).map(|(one, peer)| one / peer).collect();
        vec![one.name.to_owned(), format!("{:.1} µs", median(&one.cost)), format!("{:.2}", median(&ratios))]
    };
    let table = report::table(&[
        vec!["median of the rounds".into(), "CPU time per request".into(), "of nginx's".into()],
        row(nginx_plain, nginx_plain),
        row(gateway_plain, nginx_plain),
        row(nginx_m1, nginx_m1),
        row(gateway_m1, nginx_m1),
    ]);
    format!(
        "{table}\nMade by `cargo xtask bench gateway`: {ROUNDS} rounds in turn, each \
         `wrk -t1 -c{CONNECTIONS} -d{SECONDS}s`. {}.\n",
        report::machine(&[("nginx", &["-v"]), ("wrk", &["-v"])]),
    )
}

/// M1's `<rewrite>`, cut from the mitigation that the project ships.
fn m1(scratch: &Path) -> Result<PathBuf> {
    let source = root().join("mitigations/M1/mitigation.xml");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let rewrite = text
        .split_once("<rewrite>")
        .and_then(|(_, rest)| rest.split_once("</rewrite>"))
        .with_context(|| format!("{} holds no <rewrite>", source.display()))?
        .0;
    let file = scratch.join("m1.xml");
    fs::write(&file, format!("<rewrite>{rewrite}</rewrite>\n"))?;
    Ok(file)
}

fn translated(bench: &Bench, rules: &Path) -> Result<Rules> {
    let text =
        output(Command::new(&bench.stopgap).args(["rules", "translate"]).arg(rules).args(["--to", "nginx"]))?;
    split(&text)
}

/// What `rules translate` prints between its two parts.
const SERVER_PART: &str = "# In each server block:";

fn split(text: &str) -> Result<Rules> {
    let (http, server) = text
        .split_once(SERVER_PART)
        .with_context(|| format!("the translation has no part that begins with `{SERVER_PART}`:\n{text}"))?;
    Ok(Rules { http: http.to_owned(), server: server.to_owned() })
}

fn gateway(bench: &Bench, upstream: SocketAddr, name: &str, rules: Option<&Path>) -> Result<Server> {
    let folder = bench.scratch.join(format!("gateway-{name}"));
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let no_rules = folder.join("rules.xml");
    let mut command = Command::new(&bench.stopgap);
    command
        .args([
            "gateway",
            "run",
            "--listen",
            &address.to_string(),
            "--upstream",
            &format!("http://{upstream}"),
        ])
        .arg("--rules")
        .arg(rules.unwrap_or(&no_rules))
        .arg("--control")
        .arg(folder.join("control.sock"))
        // One worker, as nginx has.
        .env("TOKIO_WORKER_THREADS", "1")
        .env("STOPGAP_LOG", "warn");
    Server::start(&mut command, address)
}

/// A contestant that let an attack through, or refused a request of the load, would be measured at
/// other work than its peer.
fn same_work(contestant: &Contestant) -> Result<()> {
    let address = contestant.server.address;
    let name = contestant.name;
    let benign = first_line(address, "/autodiscover/autodiscover.xml?request=1")?;
    if !benign.starts_with("HTTP/1.1 200") {
        bail!("{name} answers a benign request with {benign:?}");
    }
    let attack = first_line(address, "/autodiscover/autodiscover.json?@evil.example/p%6Fwershell/")?;
    if attack.is_empty() != name.ends_with("M1") {
        bail!("{name} answers the attack with {attack:?}");
    }
    Ok(())
}

/// The first line of the answer; empty where the connection is closed without one.
fn first_line(address: SocketAddr, target: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(
        format!("GET {target} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    match stream.take(4096).read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()),
    }
}

/// One round: microseconds of the proxy per request.
fn measure(server: &Server, script: &Path) -> Result<f64> {
    let before = of_running(server.pid())?;
    let said = output(
        Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "-s"])
            .arg(script)
            .arg(format!("http://{}/", server.address)),
    )?;
    let after = of_running(server.pid())?;
    let requests = counted(&said)?;
    Ok(after.saturating_sub(before).as_secs_f64() * 1e6 / requests)
}

/// The line that the load script prints: requests, and how many of them went wrong.
fn counted(said: &str) -> Result<f64> {
    let mut numbers = said
        .lines()
        .find_map(|line| line.strip_prefix("counted "))
        .context("wrk printed no count")?
        .split_whitespace()
        .map(str::parse::<f64>);
    let (Some(Ok(requests)), Some(Ok(errors))) = (numbers.next(), numbers.next()) else {
        bail!("wrk printed an unknown count: {said}");
    };
    if errors > 0.0 || requests < 1.0 {
        bail!("of {requests} requests {errors} went wrong");
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_parts_of_a_translation_are_told_apart() {
        let text = "# In the http context:\n\nmap a b;\n\n# In each server block:\n\nif (b) {}\n";
        let rules = split(text).unwrap();
        assert!(rules.http.contains("map a b;") && !rules.http.contains("if"));
        assert_eq!(rules.server.trim(), "if (b) {}");
        assert!(split("map a b;").is_err());
    }

    #[test]
    fn a_round_with_an_error_is_no_measurement() {
        assert_eq!(counted("Running 4s\ncounted 100 0\n").unwrap(), 100.0);
        assert!(counted("counted 100 1\n").is_err());
        assert!(counted("counted 0 0\n").is_err());
        assert!(counted("").is_err());
    }
}
