//! `plan --replay`: every mitigation that the project ships over a million lines of an access log, beside grep with
//! one pattern over the same lines.
//!
//! The mitigations are those of `mitigations/` without their `<Applicability>`, so that all of them would be put on
//! here; those that stop services or pools have no rules to judge by.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cpu::{median, of_command};
use super::idle::memory;
use super::{Bench, report};
use crate::cargo::{output, root, succeed};

const LINES: u32 = 1_000_000;
/// One line in so many is an attack of M1's.
const ATTACK_EVERY: u32 = 10_000;
/// Runs of each, in turn; the median is shown.
const RUNS: usize = 5;
/// Of the product's promise.
const PROMISED: &str = "promised: under 5 s";
/// One pattern of the kind that rules have.
const PATTERN: &str = "autodiscover.*powershell";

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let folder = bench.scratch.join("replay");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    publish(bench, &folder)?;
    let log = folder.join("access.log");
    write_log(&log)?;

    let replay = |more: &[&str]| {
        let mut command = Command::new(&bench.dist);
        command.args(["plan", "--config"]).arg(folder.join("stopgap.toml")).arg("--replay").arg(&log);
        command.args(more);
        command
    };
    let found: Value = serde_json::from_str(&output(&mut replay(&["--json"]))?)?;
    let number = |key: &str| found.get(key).and_then(Value::as_u64);
    let (requests, refused) = (number("requests"), number("refused"));
    let expected = LINES / ATTACK_EVERY;
    if requests != Some(u64::from(LINES)) || refused != Some(u64::from(expected)) {
        bail!("{requests:?} requests, {refused:?} refused: expected {LINES} and {expected}");
    }
    let mitigations = found.get("mitigations").and_then(Value::as_array);
    let judged = mitigations.context("the report names its mitigations")?.len();

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(of_command(&mut replay(&[]))?.as_secs_f64());
        let mut grep = Command::new("grep");
        grep.args(["-E", "-i", "-c", PATTERN]).arg(&log).env("LC_ALL", "C");
        theirs.push(of_command(&mut grep)?.as_secs_f64());
    }
    let row = |what: String, seconds: f64| {
        let each = seconds / f64::from(LINES) * 1e6;
        vec![what, format!("{seconds:.2} s"), format!("{each:.2} µs")]
    };
    let rows = [
        vec!["median of the runs".into(), "CPU time".into(), "per line".into()],
        row(format!("`stopgap plan --replay`, {judged} mitigations"), median(&ours)),
        row(format!("`grep -E -i -c '{PATTERN}'`, one pattern"), median(&theirs)),
    ];
    Ok(format!(
        "{}\nMade by `cargo xtask bench replay`: {RUNS} runs of each in turn, whole processes, user and system time; \
         {PROMISED}. {} octets in {LINES} lines of the combined format, of which {expected} are attacks. Memory at most \
         {:.1} MB. The binary is the one that is shipped (profile `dist`). {}.\n",
        report::table(&rows),
        fs::metadata(&log)?.len(),
        highest_memory(&mut replay(&[]))?,
        report::machine(&[("grep", &["--version"])]),
    ))
}

/// A feed of all mitigations, and an agent that would put them all on a gateway.
fn publish(bench: &Bench, folder: &Path) -> Result<()> {
    let feed = folder.join("feed");
    let path = feed.to_str().context("a path that is not UTF-8")?;
    output(Command::new(&bench.dist).args(["feed", "init", path, "--name", "example"]))?;
    for entry in fs::read_dir(root().join("mitigations"))? {
        let from = entry?.path();
        if !from.is_dir() {
            continue;
        }
        let to = feed.join("mitigations").join(from.file_name().context("a folder without a name")?);
        succeed(Command::new("cp").arg("-r").arg(&from).arg(&to))?;
        let text = fs::read_to_string(to.join("mitigation.xml"))?;
        fs::write(to.join("mitigation.xml"), everywhere(&text))?;
    }
    output(Command::new(&bench.dist).args(["feed", "publish", path]))?;
    let config = format!(
        "data = {data:?}\nlogs = {logs:?}\n[[feed]]\nname = \"example\"\nurl = \"file://{path}/public/feed.xml\"\n\
         trust = \"{path}/trust.toml\"\n[[target]]\nkind = \"gateway\"\n\
         sites = {{ \"Default Web Site\" = [\"mail.example.org\"], \"Default Web Site/owa\" = [\"mail.example.org\"] }}\n",
        data = folder.join("data"),
        logs = folder.join("logs"),
    );
    fs::write(folder.join("stopgap.toml"), config)?;
    Ok(())
}

/// A mitigation for every server.
fn everywhere(mitigation: &str) -> String {
    const END: &str = "</Applicability>";
    let parts = mitigation.split_once("<Applicability>").and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{}", after.trim_start()))
    });
    parts.unwrap_or_else(|| mitigation.to_owned())
}

/// What browsers ask of a mail server and its neighbors, every line another; the same in every run.
fn write_log(path: &Path) -> Result<()> {
    const WORDS: [&str; 24] = [
        "owa",
        "ecp",
        "index.html",
        "login",
        "assets",
        "img",
        "css",
        "js",
        "api",
        "v1",
        "users",
        "mail",
        "calendar",
        "search",
        "product",
        "cart",
        "blog",
        "feed",
        "static",
        "app",
        "main",
        "vendor",
        "home",
        "images",
    ];
    const AGENTS: [&str; 3] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
        "curl/8.10.1",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 40).unwrap_or_default() % below
    };
    let mut log = BufWriter::new(fs::File::create(path)?);
    let word = |at: usize| WORDS.get(at).copied().unwrap_or_default();
    for line in 0..LINES {
        let mut target = String::new();
        for _ in 0..=next(4) {
            let _ = write!(target, "/{}", word(next(WORDS.len())));
        }
        if next(5) < 2 {
            let (one, two) = (word(next(WORDS.len())), word(next(WORDS.len())));
            let _ = write!(target, "?id={line}&q={one}%20{two}");
        }
        if line % ATTACK_EVERY == 77 {
            target = "/autodiscover/autodiscover.json?@evil.example/powershell".into();
        }
        let [_, a, b, c] = line.to_be_bytes();
        let status = [200, 200, 200, 304, 404].get(next(5)).copied().unwrap_or(200);
        let agent = AGENTS.get(next(AGENTS.len())).copied().unwrap_or_default();
        writeln!(
            log,
            "10.{a}.{b}.{c} - - [22/Nov/2026:10:{:02}:{:02} +0000] \"GET {target} HTTP/1.1\" {status} {} \
             \"https://mail.example.org/\" \"{agent}\"",
            line / 60 % 60,
            line % 60,
            next(9_000),
        )?;
    }
    Ok(log.flush()?)
}

/// In MB.
fn highest_memory(command: &mut Command) -> Result<f64> {
    let mut child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn()?;
    let mut highest = 0_f64;
    // What a process that has ended needed is not told, so it is looked at while it runs.
    while child.try_wait()?.is_none() {
        if let Ok(taken) = memory(child.id()) {
            highest = highest.max(taken.highest);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mitigation_for_every_server_says_nothing_of_servers() {
        let text =
            "<Config>\n  <Applicability>\n    <Product/>\n  </Applicability>\n  <ActionList/></Config>";
        assert_eq!(everywhere(text), "<Config>\n  <ActionList/></Config>");
        assert_eq!(everywhere("<Config/>"), "<Config/>");
    }
}
