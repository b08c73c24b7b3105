//! `cargo xtask fuzz`: the targets of `fuzz/`, on stable Rust and without cargo-fuzz.
//!
//! What cargo-fuzz does with `--sanitizer none`: LLVM's own pass marks every branch, and libFuzzer, compiled
//! from C++ by its crate, looks for inputs that take new ones. What a run finds is kept in `fuzz/corpus/NAME`
//! (not part of the repository), an input that brings a target down in `fuzz/artifacts/NAME`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, output, root, succeed};

/// The command's options.
#[derive(clap::Args)]
pub struct Options {
    /// The target, by default all of them in turn: a file in fuzz/src/bin
    target: Option<String>,
    /// Executions of each target
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// Seconds of each target at most; 0: no limit
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// What every change must pass: each target once over its seeds and for three seconds more
    #[arg(long, conflicts_with_all = ["runs", "seconds"])]
    smoke: bool,
    /// The first number of the fuzzer's chance, by default 1: a run can be made again
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// LLVM's coverage as libFuzzer reads it; from cargo-fuzz's own source.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Runs what was asked for; false where a target was brought down.
pub fn run(options: &Options) -> Result<bool> {
    let folder = root().join("fuzz");
    let all = targets(&folder)?;
    let wanted: Vec<&String> = match &options.target {
        Some(name) if !all.contains(name) => bail!("no target {name:?}; there are {}", all.join(", ")),
        Some(name) => all.iter().filter(|target| *target == name).collect(),
        None => all.iter().collect(),
    };
    let programs = build(&folder)?;
    let (mut total, mut passed) = (0, true);
    for name in wanted {
        let done = fuzz(&folder, &programs.join(name), name, options)?;
        println!("{name}: {}{}", done.said, if done.passed { "" } else { ", BROUGHT DOWN" });
        total += done.executions;
        passed &= done.passed;
    }
    println!("{total} executions in all");
    Ok(passed)
}

/// The names of the targets.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let bin = folder.join("src/bin");
    let mut names = Vec::new();
    for entry in fs::read_dir(&bin).with_context(|| format!("cannot read {}", bin.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds every target; the folder that they are in.
fn build(folder: &Path) -> Result<PathBuf> {
    // With a target named, what runs at build time is not instrumented.
    let host = host()?;
    let built = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| folder.join("target"), |shared| root().join(shared).join("fuzz"));
    succeed(
        cargo()
            .args(["build", "--release", "--locked", "--bins", "--target", &host, "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &built)
            .env("RUSTFLAGS", COVERAGE.join(" ")),
    )?;
    Ok(built.join(host).join("release"))
}

fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = output(Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

struct Done {
    executions: u64,
    /// That and more, as it is shown.
    said: String,
    passed: bool,
}

fn fuzz(folder: &Path, program: &Path, name: &str, options: &Options) -> Result<Done> {
    let place = |kind: &str| -> Result<PathBuf> {
        let path = folder.join(kind).join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let (seeds, artifacts) = (place("seeds")?, place("artifacts")?);
    let mut command = Command::new(program);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=20"]);
    command.arg(format!("-seed={}", options.seed)).arg(format!("-max_len={}", longest(&seeds)?.max(4096)));
    let words = folder.join("dictionaries").join(format!("{name}.dict"));
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    // libFuzzer keeps what it finds in the first folder that it is given.
    let found = if options.smoke {
        // The seeds alone: what is found is not kept, so that two runs do the same.
        command.args(["-max_total_time=3", "-runs=200000"]);
        let smoke = place("target/smoke")?;
        fs::remove_dir_all(&smoke).with_context(|| format!("cannot empty {}", smoke.display()))?;
        place("target/smoke")?
    } else {
        command.arg(format!("-runs={}", options.runs)).arg(format!("-max_total_time={}", options.seconds));
        place("corpus")?
    };
    command.arg(found).arg(seeds);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let executions = statistic(&said, "number_of_executed_units").unwrap_or(0);
    let rate = statistic(&said, "average_exec_per_sec").unwrap_or(0);
    let (first, last) = resident(&said).unwrap_or_default();
    let skipped = said.lines().find(|line| line.starts_with("skipped ("));
    let passed = done.status.success() && executions > 0;
    let said_of_it = skipped.map_or_else(
        || format!("{executions} executions, {rate} a second, {first} MB resident at first and {last} MB at the end"),
        str::to_owned,
    );
    if !passed {
        let tail: Vec<&str> = said.lines().rev().take(60).collect();
        eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    // Nothing was compared where a library is missing.
    Ok(Done { executions: if skipped.is_some() { 0 } else { executions }, said: said_of_it, passed })
}

/// Octets of the longest seed, which libFuzzer would else cut off.
fn longest(seeds: &Path) -> Result<u64> {
    let lengths = fs::read_dir(seeds)?.map(|entry| Ok(entry?.metadata()?.len()));
    Ok(lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0))
}

/// From libFuzzer's closing words.
fn statistic(said: &str, name: &str) -> Option<u64> {
    let (start, name) = ("stat::", format!("{name}:"));
    said.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(&name)?.trim().parse().ok())
}

/// Megabytes that the process holds when the seeds are read, and at the end.
fn resident(said: &str) -> Option<(u64, u64)> {
    let of = |line: &str| line.split_once(" rss: ")?.1.split_once("Mb")?.0.parse().ok();
    let first = said.lines().filter(|line| line.contains("INITED")).find_map(of)?;
    Some((first, said.lines().rev().find_map(of)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_and_memory_are_read_from_what_the_fuzzer_says() {
        let said = "#9\tINITED cov: 7 ft: 8 corp: 2/1b exec/s: 0 rss: 35Mb\n\
                    #80\tDONE   cov: 7 ft: 8 corp: 2/1b exec/s: 3 rss: 44Mb\n\
                    Done 10 runs in 0 second(s)\nstat::number_of_executed_units: 1234\nstat::new_units_added: 1\n";
        assert_eq!(statistic(said, "number_of_executed_units"), Some(1234));
        assert_eq!(resident(said), Some((35, 44)));
        assert_eq!(statistic("Segmentation fault", "number_of_executed_units"), None);
        assert_eq!(resident("Segmentation fault"), None);
    }

    #[test]
    fn every_target_is_a_function_of_its_name_and_has_seeds() {
        let folder = root().join("fuzz");
        let code = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        for name in targets(&folder).unwrap() {
            assert!(code.contains(&format!("pub use {name}::{name};")), "{name}");
            assert!(fs::read_dir(folder.join("seeds").join(&name)).unwrap().next().is_some(), "{name}");
        }
    }
}
