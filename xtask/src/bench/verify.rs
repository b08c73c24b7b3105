//! Verifying a feed: Microsoft's real document, and a made one of a thousand mitigations. Each: the whole
//! process of `stopgap feed verify` against the whole process of `xmlsec1 --verify`, in turn, and the bare
//! call within one process.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cpu::{median, of_command};
use super::{Bench, report};
use crate::cargo::{cargo, corpus, output, succeed, words};

/// Runs of each process, the median of which is shown.
const RUNS: usize = 200;
const RUNS_OF_LARGE: usize = 50;
const MITIGATIONS: usize = 1000;

/// xmlsec1 reads no timestamp: it is told the time, which lies within the certificates' validity.
const TIME_FOR_XMLSEC1: &str = "2021-09-16 00:00:00";

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let Some(corpus) = corpus() else { bail!("this benchmark reads the corpus: set STOPGAP_CORPUS") };
    let feed = corpus.join("ms-feed").canonicalize().context("the corpus has no ms-feed")?;
    let trust = bench.scratch.join("microsoft-trust.toml");
    fs::write(&trust, trust_file(&feed))?;
    let document = feed.join("getexchangemitigations-2021-09-29.xml");
    let root = feed.join("microsoft-root-ca-2011.pem");
    let real = Case { document, trust, root, time: Some(TIME_FOR_XMLSEC1), runs: RUNS };
    let made = made(bench)?;

    let mut rows = vec![vec!["median of the runs".into(), "CPU time".into(), "of xmlsec1's".into()]];
    for (of, case) in [("Microsoft's", &real), ("1,000 mitigations", &made)] {
        let times = case.measure(bench)?;
        let mut row = |what: &str, time: f64| {
            let ratio = format!("{:.2}", time / times.theirs);
            rows.push(vec![format!("{of}: {what}"), format!("{:.2} ms", time / 1000.0), ratio]);
        };
        row("`xmlsec1 --verify`, whole process", times.theirs);
        row("`stopgap feed verify`, whole process", times.ours);
        row("`stopgap_feed::verify`, the call alone", times.call);
    }
    let octets = |path: &Path| fs::metadata(path).map(|found| found.len());
    Ok(format!(
        "{}\nMade by `cargo xtask bench verify`: {RUNS} and {RUNS_OF_LARGE} runs of each in turn; user and system \
         time. Documents of {} and {} octets. {}.\n\n    {}\n    {}\n",
        report::table(&rows),
        octets(&real.document)?,
        octets(&made.document)?,
        report::machine(&[("xmlsec1", &["--version"])]),
        shown(&real.ours(bench), &feed, &bench.scratch),
        shown(&real.theirs(), &feed, &bench.scratch),
    ))
}

/// A document, and who is trusted for it.
struct Case {
    document: PathBuf,
    trust: PathBuf,
    /// What xmlsec1 trusts.
    root: PathBuf,
    /// The time that xmlsec1 is told; `None`: now.
    time: Option<&'static str>,
    runs: usize,
}

/// Medians, in microseconds.
struct Times {
    ours: f64,
    theirs: f64,
    call: f64,
}

impl Case {
    fn ours(&self, bench: &Bench) -> Command {
        let mut command = Command::new(&bench.stopgap);
        command.args(["feed", "verify"]).arg(&self.document).arg("--trust").arg(&self.trust);
        command
    }

    fn theirs(&self) -> Command {
        let mut command = Command::new("xmlsec1");
        command.args(["--verify", "--enabled-key-data", "x509"]);
        if let Some(time) = self.time {
            command.args(["--verification-time", time]);
        }
        command.arg("--trusted-pem").arg(&self.root).arg(&self.document);
        command
    }

    fn measure(&self, bench: &Bench) -> Result<Times> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            ours.push(micros(of_command(&mut self.ours(bench))?));
            theirs.push(micros(of_command(&mut self.theirs())?));
        }
        let mut alone = cargo();
        alone.args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "xtask",
            "--example",
            "verify-in-process",
            "--",
        ]);
        let printed = output(alone.args([&self.document, &self.trust]))?;
        let call = printed.trim().parse().context("verify-in-process prints one number")?;
        Ok(Times { ours: median(&ours), theirs: median(&theirs), call })
    }
}

/// A feed of its own publisher, signed by the binary.
fn made(bench: &Bench) -> Result<Case> {
    let folder = bench.scratch.join("thousand");
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    let stopgap = || Command::new(&bench.stopgap);
    succeed(stopgap().args(["feed", "init", "--name", "bench"]).arg(&folder))?;
    let unsigned = folder.join("unsigned.xml");
    fs::write(&unsigned, thousand())?;
    let document = folder.join("thousand.xml");
    let mut sign = stopgap();
    sign.args(["feed", "sign"]).arg(&unsigned).arg("--out").arg(&document);
    sign.arg("--key").arg(folder.join("signing.key.pem")).arg("--chain").arg(folder.join("chain.pem"));
    succeed(&mut sign)?;
    let (trust, root) = (folder.join("trust.toml"), folder.join("root.pem"));
    Ok(Case { document, trust, root, time: None, runs: RUNS_OF_LARGE })
}

/// A thousand octets each, of the kind that the project's own mitigations have.
fn thousand() -> String {
    let mut text = String::from(
        "<EOCS version=\"2.0\" feed=\"bench\" serial=\"1\" issued=\"2020-01-01T00:00:00Z\" \
         expires=\"2100-01-01T00:00:00Z\">\n",
    );
    for number in 1..=MITIGATIONS {
        let _ = write!(
            text,
            r#"  <Config id="M{number}" desc="Server-side request forgery in component {number}" severity="critical" cve="CVE-2022-{number:05}">
    <Applicability>
      <Product name="component-{number}" versions="dotted"><Range from="15.1.0.0" below="15.1.2375.{number}"/></Product>
      <Product name="component-{number}" versions="dpkg" ecosystem="Debian:12"><Range below="1.22.1-9+deb12u2"/></Product>
    </Applicability>
    <ActionList>
      <Action id="M{number}.1" type="UrlRewrite" scope="Site" desc="Refuses what reaches component {number}">
        <rewrite><rules><rule name="Component {number} - inbound" stopProcessing="true"><match url=".*"/><conditions>
          <add input="{{UrlDecode:{{REQUEST_URI}}}}" pattern="(?=.*component{number})(?=.*powershell)"/></conditions>
          <action type="AbortRequest"/></rule></rules></rewrite>
      </Action>
    </ActionList>
    <Probes><Request expect="blocked">GET /component{number}/?powershell HTTP/1.1</Request></Probes>
  </Config>
"#
        );
    }
    text + "</EOCS>\n"
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
