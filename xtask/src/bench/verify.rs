//! Verifying Microsoft's real document: the whole process of `stopgap feed verify` against the
//! whole process of `xmlsec1 --verify`, in turn, and the bare call within one process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cpu::{median, of_command};
use super::{Bench, report};
use crate::cargo::{cargo, corpus, output, words};

const RUNS: usize = 200;

/// xmlsec1 reads no timestamp: it is told the time, which lies within the certificates' validity.
const TIME_FOR_XMLSEC1: &str = "2021-09-16 00:00:00";

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let Some(corpus) = corpus() else { bail!("this benchmark reads the corpus: set STOPGAP_CORPUS") };
    let feed = corpus.join("ms-feed").canonicalize().context("the corpus has no ms-feed")?;
    let document = feed.join("getexchangemitigations-2021-09-29.xml");
    let trust = bench.scratch.join("microsoft-trust.toml");
    std::fs::write(&trust, trust_file(&feed))?;

    let ours = || {
        let mut command = Command::new(&bench.stopgap);
        command.args(["feed", "verify"]).arg(&document).arg("--trust").arg(&trust);
        command
    };
    let theirs = || {
        let mut command = Command::new("xmlsec1");
        command.args(["--verify", "--enabled-key-data", "x509", "--verification-time", TIME_FOR_XMLSEC1]);
        command.arg("--trusted-pem").arg(feed.join("microsoft-root-ca-2011.pem")).arg(&document);
        command
    };

    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        our_times.push(micros(of_command(&mut ours())?));
        their_times.push(micros(of_command(&mut theirs())?));
    }
    let in_process: f64 = output(
        cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "xtask",
                "--example",
                "verify-in-process",
                "--",
            ])
            .args([&document, &trust]),
    )?
    .trim()
    .parse()
    .context("verify-in-process prints one number")?;

    let (our_time, their_time) = (median(&our_times), median(&their_times));
    let row = |what: &str, time: f64| {
        vec![what.to_owned(), format!("{:.2} ms", time / 1000.0), format!("{:.2}", time / their_time)]
    };
    let table = report::table(&[
        vec!["median of the runs".into(), "CPU time".into(), "of xmlsec1's".into()],
        row("`xmlsec1 --verify`, whole process", their_time),
        row("`stopgap feed verify`, whole process", our_time),
        row("`stopgap_feed::verify`, the call alone", in_process),
    ]);
    Ok(format!(
        "{table}\nMade by `cargo xtask bench verify`: {RUNS} runs of each in turn; user and system time. {}.\n",
        report::machine(&[("xmlsec1", &["--version"])]),
    ) + &format!(
        "\n    {}\n    {}\n",
        shown(&ours(), &feed, &bench.scratch),
        shown(&theirs(), &feed, &bench.scratch)
    ))
}

fn trust_file(feed: &Path) -> String {
    let feed = feed.display();
    format!(
        "roots = [\"{feed}/microsoft-root-ca-2011.pem\"]
issuers = [\"Microsoft Code Signing PCA 2011\"]
signer = \"Microsoft Exchange XML Signing\"
eku = [\"1.3.6.1.4.1.311.76.57.1.11\"]
timestamp_roots = [\"{feed}/microsoft-time-stamp-pca-2010.pem\"]
revocation = \"off\"
freshness = \"absent\"
"
    )
}

/// The command without this machine's folders.
fn shown(command: &Command, feed: &Path, scratch: &Path) -> String {
    let mut text = words(command);
    for folder in [feed, scratch] {
        text = text.replace(&format!("{}/", folder.display()), "");
    }
    text.replace(TIME_FOR_XMLSEC1, &format!("\"{TIME_FOR_XMLSEC1}\""))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
