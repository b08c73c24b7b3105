//! The order of functions in the shipped program: those that a waiting agent runs stand beside each other.
//!
//! An agent runs a few thousand of twenty thousand functions. Where they are spread over the program, nearly all of it
//! is mapped into memory, 64 KiB around each that runs; put together, a quarter is. The order is the work of the
//! linker (lld's `--symbol-ordering-file`, the default linker for x86-64 Linux) and changes no instruction: a name that
//! is no longer there costs memory and nothing else.
//!
//! The list is found out by each build: the agent runs under callgrind, which says what it ran. Names hold for one
//! build of one folder, so the list is no file of the repository. It is left beside the program (`stopgap.order`);
//! a build that is given it (`--order`) makes the same program to the byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{cargo, succeed, target_directory};
use crate::protected::Protected;
use crate::tools;

/// Below this part of names found the list is of another program.
const FRESH_PERCENT: usize = 80;
/// Cycles that the agent runs under the instrument.
const CYCLES: f64 = 5.0;
const PATIENCE: Duration = Duration::from_secs(180);

/// Builds the program that is shipped, its functions in order; by `given`, a list that such a build left, or by a new
/// one. Elsewhere than on x86-64 Linux they stay as they are.
pub fn build(given: Option<&Path>) -> Result<PathBuf> {
    let folder = target_directory()?.join("dist");
    let program = folder.join("stopgap");
    if !ordered_by_the_linker() {
        ensure!(given.is_none(), "functions are ordered on x86-64 Linux alone");
        succeed(rustc().args(["--", "-C", "strip=symbols"]))?;
        return Ok(program);
    }
    let list = folder.join("stopgap.order");
    match given {
        Some(given) => fs::write(&list, read(given)?)?,
        None => {
            succeed(&mut rustc())?;
            fs::write(&list, find_out(&program, &folder.join("order"))?)?;
        }
    }
    let map = folder.join("stopgap.map");
    let mut ordered = rustc();
    ordered.args(["--", "-C", "strip=symbols"]);
    for argument in [
        format!("--symbol-ordering-file={}", list.display()),
        "--no-warn-symbol-ordering".to_owned(),
        format!("-Map={}", map.display()),
    ] {
        ordered.args(["-C", &format!("link-arg=-Wl,{argument}")]);
    }
    succeed(&mut ordered)?;
    judge(&read(&list)?, &read(&map)?)?;
    Ok(program)
}

/// What an agent of `program` runs, a name a line.
fn find_out(program: &Path, folder: &Path) -> Result<String> {
    tools::require(tools::DIST, "find out the order of functions")?;
    let mut ran = BTreeSet::new();
    for secure in [false, true] {
        ran.extend(observe(program, folder, secure)?);
    }
    Ok(ran.iter().map(|name| format!("{name}\n")).collect())
}

/// Whether Rust's own choice of a linker takes the list.
const fn ordered_by_the_linker() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

fn rustc() -> Command {
    let mut rustc = cargo();
    rustc.args(["rustc", "--profile", "dist", "--package", "stopgap", "--bin", "stopgap"]);
    rustc
}

/// The names of the functions that an agent of `program` runs until it has found nothing to do for some cycles.
fn observe(program: &Path, folder: &Path, secure: bool) -> Result<BTreeSet<String>> {
    let found = folder.with_extension("callgrind");
    let mut agent = Command::new("valgrind");
    agent.args(["--tool=callgrind", "--demangle=no", "--compress-strings=no", "--quiet"]);
    agent.arg(format!("--callgrind-out-file={}", found.display())).arg(program);
    let agent = Protected::start(program, folder, secure, agent)?;
    agent.configure(&format!("interval = \"1s\"\n{}", agent.config))?;
    let deadline = Instant::now() + PATIENCE;
    while agent.metric("stopgap_cycles_total ").is_none_or(|cycles| cycles < CYCLES) {
        ensure!(Instant::now() < deadline, "the agent runs no cycles under valgrind");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(agent);
    let names = functions(&read(&found)?);
    fs::remove_file(&found)?;
    ensure!(!names.is_empty(), "callgrind saw no function of Rust's in {}", program.display());
    Ok(names)
}

/// Of callgrind's output the functions of Rust's: it writes each as `fn=NAME`, a recursion as `NAME'2`.
fn functions(callgrind: &str) -> BTreeSet<String> {
    let names = callgrind.lines().filter_map(|line| line.strip_prefix("fn=").or(line.strip_prefix("cfn=")));
    let names = names.map(|name| name.split_once('\'').map_or(name, |(name, _)| name));
    names.filter(|name| name.starts_with("_ZN") || name.starts_with("_R")).map(str::to_owned).collect()
}

/// How many names of `list` the linker's map has, each in a section of its own.
fn judge(list: &str, map: &str) -> Result<()> {
    let sections: BTreeSet<&str> =
        map.lines().filter_map(|line| line.split_once(".text.")?.1.split(')').next()).collect();
    let names: Vec<&str> = list.lines().filter(|line| !line.is_empty()).collect();
    let found = names.iter().filter(|name| sections.contains(*name)).count();
    println!("in order: {found} of {} functions", names.len());
    if found * 100 < names.len() * FRESH_PERCENT {
        bail!(
            "the order is of another program, or of another folder: {found} of its {} functions are here; expected \
             the stopgap.order that a build of this folder left, or no --order",
            names.len()
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_files_and_foreign_names() {
        let text = "fl=/src/a.rs\nfn=_ZN1a1bE\n1 2\ncfn=_RNv1c'2\ncalls=1 0\nfn=memcpy\nfn=_ZN1a1bE'3\n";
        assert_eq!(functions(text).into_iter().collect::<Vec<_>>(), ["_RNv1c", "_ZN1a1bE"]);
    }

    #[test]
    fn a_list_of_another_program_is_refused() {
        let map =
            "  1 1 5 16   /deps/a.o:(.text._ZN1a1bE)\n  1 1 5 1   _ZN1a1bE\n 1 1 9 16 x.o:(.text._RNv1c)\n";
        judge("_RNv1c\n_ZN1a1bE\n", map).unwrap();
        let error = judge("_RNv1c\n_ZN1a1xE\n", map).unwrap_err().to_string();
        assert!(error.contains("1 of its 2"), "{error}");
    }
}
