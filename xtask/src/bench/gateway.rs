//! The gateway beside nginx, HAProxy and Apache with mod_security, all as reverse proxies in front of
//! the same origin, with the same rules and the same load: CPU time of the proxy per request, with no
//! rule, with M1 and with a thousand rules.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cpu::{median, of_running};
use super::load::{self, Pattern};
use super::nginx::{self, Rules};
use super::{Bench, apache, haproxy, report};
use crate::cargo::output;
use crate::server::{Server, free_address};

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 32;

/// One of those that are compared.
struct Contestant {
    name: &'static str,
    server: Server,
    /// Microseconds per request, one a round.
    cost: Vec<f64>,
}

/// Those with the same rules. The gateway is the first, nginx the second.
struct Class {
    rules: String,
    attack: Option<String>,
    contestants: Vec<Contestant>,
}

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let script = bench.scratch.join("load.lua");
    fs::write(&script, load::SCRIPT)?;
    let origin = nginx::origin(&bench.scratch.join("origin"))?;
    let mut classes = Vec::new();
    for (rules, patterns) in [("no rule", Vec::new()), ("M1", load::m1()), ("1,000 rules", load::many(1000))]
    {
        let class = class(bench, rules, &patterns, origin.address).with_context(|| rules.to_owned())?;
        for contestant in &class.contestants {
            same_work(contestant, class.attack.as_deref()).with_context(|| rules.to_owned())?;
        }
        classes.push(class);
    }
    for _ in 0..ROUNDS {
        for class in &mut classes {
            for contestant in &mut class.contestants {
                let cost = measure(&contestant.server, &script).with_context(|| contestant.name)?;
                contestant.cost.push(cost);
            }
        }
    }
    Ok(section(&classes))
}

fn class(bench: &Bench, rules: &str, patterns: &[Pattern], origin: SocketAddr) -> Result<Class> {
    let folder = |name: &str| bench.scratch.join(format!("{name}-{}", patterns.len()));
    let file = bench.scratch.join(format!("{}.xml", patterns.len()));
    fs::write(&file, load::rewrite(patterns))?;
    let translated = if patterns.is_empty() { Rules::default() } else { translated(bench, &file)? };
    let contestant = |name, server| Contestant { name, server, cost: Vec::new() };
    let contestants = vec![
        contestant("gateway", gateway(bench, &folder("gateway"), origin, &file)?),
        contestant("nginx", nginx::proxy(&folder("nginx"), origin, &translated)?),
        contestant("HAProxy", haproxy::proxy(&folder("haproxy"), origin, patterns)?),
        contestant("Apache, mod_security", apache::proxy(&folder("apache"), origin, patterns)?),
    ];
    Ok(Class { rules: rules.to_owned(), attack: load::attack(patterns), contestants })
}

fn section(classes: &[Class]) -> String {
    let mut rows = vec![vec![
        "median of the rounds".into(),
        "CPU time per request".into(),
        "of nginx's".into(),
        "the gateway's of it".into(),
    ]];
    for class in classes {
        let [gateway, nginx, ..] = class.contestants.as_slice() else { continue };
        for one in &class.contestants {
            rows.push(vec![
                format!("{}: {}", class.rules, one.name),
                format!("{:.1} µs", median(&one.cost)),
                format!("{:.2}", ratio(one, nginx)),
                format!("{:.2}", ratio(gateway, one)),
            ]);
        }
    }
    format!(
        "{}\nMade by `cargo xtask bench gateway`: {ROUNDS} rounds in turn, each \
         `wrk -t1 -c{CONNECTIONS} -d{SECONDS}s`; the gateway is the shipped profile (`dist`). {}.\n",
        report::table(&rows),
        report::machine(&[("nginx", &["-v"]), ("haproxy", &["-v"]), ("apache2", &["-v"]), ("wrk", &["-v"])]),
    )
}

/// The median of the rounds' own ratios, which a noisy neighbor moves less than the times.
fn ratio(one: &Contestant, of: &Contestant) -> f64 {
    median(&one.cost.iter().zip(&of.cost).map(|(one, of)| one / of).collect::<Vec<_>>())
}

fn translated(bench: &Bench, rules: &Path) -> Result<Rules> {
    let text =
        output(Command::new(&bench.dist).args(["rules", "translate"]).arg(rules).args(["--to", "nginx"]))?;
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

fn gateway(bench: &Bench, folder: &Path, origin: SocketAddr, rules: &Path) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let mut command = Command::new(&bench.dist);
    command
        .args(["gateway", "run", "--listen", &address.to_string(), "--upstream", &format!("http://{origin}")])
        .arg("--rules")
        .arg(rules)
        .arg("--control")
        .arg(folder.join("control.sock"))
        // One worker, as the others have.
        .env("TOKIO_WORKER_THREADS", "1")
        .env("STOPGAP_LOG", "warn");
    Server::start(&mut command, address)
}

/// A contestant that let an attack through, or refused a request of the load, would be measured at
/// other work than its peers.
fn same_work(contestant: &Contestant, attack: Option<&str>) -> Result<()> {
    let address = contestant.server.address;
    let name = contestant.name;
    let benign = first_line(address, "/autodiscover/autodiscover.xml?request=1")?;
    if !benign.starts_with("HTTP/1.1 200") {
        bail!("{name} answers a benign request with {benign:?}");
    }
    let Some(attack) = attack else { return Ok(()) };
    let answer = first_line(address, attack)?;
    if !answer.is_empty() && !answer.starts_with("HTTP/1.1 403") {
        bail!("{name} answers the attack with {answer:?}");
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
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")])
            // A thousand rules take some servers longer than the two seconds of its default.
            .args(["--timeout", "60s", "-s"])
            .arg(script)
            .arg(format!("http://{}/", server.address)),
    )?;
    let after = of_running(server.pid())?;
    let requests = counted(&said)?;
    Ok(after.saturating_sub(before).as_secs_f64() * 1e6 / requests)
}

/// The line that the load script prints: requests, and how many of them went wrong.
pub fn counted(said: &str) -> Result<f64> {
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
