//! The rule engine beside PCRE2, rule by rule as servers do it, and libmodsecurity: CPU time per benign
//! request, by the number of rules and by the length of the address. The peers are small C programs of our
//! own in `peers/`, compiled here, which read the same rules and requests.

mod inputs;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpu::median;
use super::{Bench, report};
use crate::cargo::{cargo, output, root, succeed, target_directory};

const ROUNDS: usize = 5;
const RULES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const REQUESTS: usize = 2_000;
/// Bytes of an address.
const LENGTHS: [usize; 6] = [80, 500, 1_000, 2_000, 4_000, 8_000];
/// The number of rules with which the length of the address is varied.
const MANY: usize = 1_000;

/// Values by their names, one for each round.
#[derive(Default)]
struct Figures(HashMap<(Contestant, usize, usize, String), Vec<f64>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Contestant {
    Stopgap,
    Pcre2,
    ModSecurity,
}

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    succeed(cargo().args([
        "build",
        "--profile",
        "dist",
        "--package",
        "xtask",
        "--example",
        "rules-in-process",
    ]))?;
    let ours = target_directory()?.join("dist/examples/rules-in-process");
    let folder = bench.scratch.join("rules");
    fs::create_dir_all(&folder)?;
    let pcre2 = peer(&folder, "pcre2", "-lpcre2-8")?;
    let modsecurity = peer(&folder, "modsecurity", "-lmodsecurity")?;
    for count in RULES {
        let rules = inputs::rules(count);
        fs::write(folder.join(format!("{count}.xml")), inputs::iis(&rules))?;
        fs::write(folder.join(format!("{count}.tsv")), inputs::lines(&rules))?;
        fs::write(folder.join(format!("{count}.conf")), inputs::modsecurity(&rules))?;
    }
    for length in LENGTHS {
        fs::write(folder.join(format!("{length}.requests")), inputs::requests(REQUESTS, length))?;
    }

    let mut figures = Figures::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let mut one = |contestant, program: &Path, form: &str, rules: usize, length: usize| {
            let mut command = Command::new(program);
            command
                .arg(folder.join(format!("{rules}.{form}")))
                .arg(folder.join(format!("{length}.requests")));
            figures.add(contestant, rules, length, &output(&mut command)?)
        };
        for (rules, length) in cells() {
            one(Contestant::Stopgap, &ours, "xml", rules, length)?;
            one(Contestant::Pcre2, &pcre2, "tsv", rules, length)?;
            // It takes seconds a request with more, and its own limits on addresses.
            if rules <= MANY && length == 80 {
                one(Contestant::ModSecurity, &modsecurity, "conf", rules, length)?;
            }
        }
    }
    Ok(section(&figures))
}

/// Rules and length of each measurement.
fn cells() -> impl Iterator<Item = (usize, usize)> {
    let by_rules = RULES.into_iter().map(|rules| (rules, 80));
    let by_length = LENGTHS.into_iter().skip(1).flat_map(|length| [(1, length), (MANY, length)]);
    by_rules.chain(by_length)
}

fn peer(folder: &Path, name: &str, library: &str) -> Result<PathBuf> {
    let program = folder.join(name);
    let source = root().join(format!("xtask/src/bench/peers/{name}.c"));
    succeed(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).arg(library))?;
    Ok(program)
}

impl Figures {
    fn add(&mut self, contestant: Contestant, rules: usize, length: usize, said: &str) -> Result<()> {
        for line in said.lines() {
            let (name, value) =
                line.split_once(' ').with_context(|| format!("{contestant:?} said {line:?}"))?;
            let value: f64 = value.parse().with_context(|| format!("{contestant:?} said {line:?}"))?;
            if name == "refused" && value != 0.0 {
                bail!("{contestant:?} refused {value} of the benign requests with {rules} rules");
            }
            self.0.entry((contestant, rules, length, name.to_owned())).or_default().push(value);
        }
        Ok(())
    }

    fn all(&self, contestant: Contestant, rules: usize, length: usize, name: &str) -> &[f64] {
        self.0.get(&(contestant, rules, length, name.to_owned())).map(Vec::as_slice).unwrap_or_default()
    }

    fn median(&self, contestant: Contestant, rules: usize, length: usize, name: &str) -> f64 {
        median(self.all(contestant, rules, length, name))
    }

    /// The median of the rounds' own ratios.
    fn ratio(&self, peer: Contestant, rules: usize, length: usize) -> Option<f64> {
        let ours = self.all(Contestant::Stopgap, rules, length, "evaluate");
        let theirs = self.all(peer, rules, length, "request");
        let ratios: Vec<f64> = theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }
}

fn section(figures: &Figures) -> String {
    use Contestant::{ModSecurity, Pcre2, Stopgap};
    let peer = |peer, rules, length| match figures.ratio(peer, rules, length) {
        Some(ratio) => format!("{} ({ratio:.0}×)", time(figures.median(peer, rules, length, "request"))),
        None => "not measured".to_owned(),
    };
    let ours = |rules, length, name| time(figures.median(Stopgap, rules, length, name));
    let mut by_rules = vec![
        ["rules", "engine", "with parsing the head", "PCRE2 JIT, rule by rule", "libmodsecurity"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for rules in RULES {
        by_rules.push(vec![
            thousands(rules),
            ours(rules, 80, "evaluate"),
            ours(rules, 80, "head"),
            peer(Pcre2, rules, 80),
            peer(ModSecurity, rules, 80),
        ]);
    }
    let mut by_length = vec![
        ["address", "engine, 1 rule", "engine, 1,000 rules", "PCRE2 JIT, 1,000 rules"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for length in LENGTHS {
        by_length.push(vec![
            format!("{} bytes", thousands(length)),
            ours(1, length, "evaluate"),
            ours(MANY, length, "evaluate"),
            peer(Pcre2, MANY, length),
        ]);
    }
    let added = |rules| {
        let more =
            figures.all(Stopgap, rules, 80, "evaluate").iter().zip(figures.all(Stopgap, 1, 80, "evaluate"));
        time(median(&more.map(|(many, one)| many - one).collect::<Vec<_>>()))
    };
    let most = RULES.last().copied().unwrap_or_default();
    let once = |name| figures.median(Stopgap, most, 80, name);
    format!(
        "{}\nOver one rule, 1,000 rules add {} and 10,000 add {}.\n\n{}\n\
         A set of 10,000 rules is compiled and in force in {:.1} ms from nothing, and in {:.1} ms where one rule of the set \
         before it is gone, both behind {:.1} ms of reading its text; it takes {:.2} MB per 1,000 rules.\n\n\
         Made by `cargo xtask bench rules`: {ROUNDS} rounds in turn, medians; in brackets the median of the \
         rounds' own ratios to the engine. {}; PCRE2 {}; libmodsecurity {}.\n",
        report::table(&by_rules),
        added(1_000),
        added(10_000),
        report::table(&by_length),
        once("compile") / 1e3,
        once("after") / 1e3,
        once("parse") / 1e3,
        once("memory") / 1e6 / (most as f64 / 1e3),
        report::machine(&[]),
        version("libpcre2-8-0"),
        version("libmodsecurity3"),
    )
}

/// Of a Debian package; its own words where there is none.
fn version(package: &str) -> String {
    let asked = output(Command::new("dpkg-query").args(["--show", "--showformat", "${Version}\\n", package]));
    asked.map_or_else(
        |_| "of an unknown version".to_owned(),
        |text| text.lines().next().unwrap_or_default().to_owned(),
    )
}

fn time(nanoseconds: f64) -> String {
    if nanoseconds < 10_000.0 {
        format!("{:.2} µs", nanoseconds / 1e3)
    } else if nanoseconds < 1e6 {
        format!("{:.0} µs", nanoseconds / 1e3)
    } else {
        format!("{:.1} ms", nanoseconds / 1e6)
    }
}

fn thousands(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contestant_that_refuses_a_benign_request_is_no_contestant() {
        let mut figures = Figures::default();
        figures.add(Contestant::Pcre2, 1, 80, "request 12.5\nrefused 0\n").unwrap();
        assert_eq!(figures.median(Contestant::Pcre2, 1, 80, "request"), 12.5);
        assert!(figures.add(Contestant::Pcre2, 1, 80, "refused 3\n").is_err());
        assert!(figures.add(Contestant::Pcre2, 1, 80, "12.5\n").is_err());
    }

    #[test]
    fn times_and_numbers_are_written_for_people() {
        assert_eq!(
            (time(441.0), time(75_300.0), time(1_893_000.0)),
            ("0.44 µs".into(), "75 µs".into(), "1.9 ms".into())
        );
        assert_eq!((thousands(10), thousands(10_000)), ("10".into(), "10,000".into()));
    }
}
