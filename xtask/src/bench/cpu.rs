//! CPU time: of a command from start to end, and of a server that goes on running.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// User and system time that a command took, itself and what it started.
///
/// # Errors
/// When it cannot be started or fails: a refusal is faster than the work.
pub fn of_command(command: &mut Command) -> Result<Duration> {
    // What it writes is read: grep, told to write to /dev/null, ends at its first match.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let before = of_children()?;
    let done = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let after = of_children()?;
    if !done.status.success() {
        bail!("{command:?} ended with {}", done.status);
    }
    Ok(after.saturating_sub(before))
}

/// Of every child that has ended and been waited for.
fn of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
}

/// User and system time so far of a process and of its children, such as nginx's workers, that run.
/// Counted in clock ticks (10 ms): measure over seconds.
pub fn of_running(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let mut total =
        ticks(&stat, USER_AND_SYSTEM).with_context(|| format!("/proc/{pid}/stat has an unknown form"))?;
    for child in children(pid)? {
        total += of_running(child)?;
    }
    Ok(total)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(found)
}

/// User and system time of the children of a process that have ended and that it has waited for.
/// Counted in clock ticks (10 ms): measure over many.
pub fn of_ended_children(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    ticks(&stat, OF_CHILDREN).with_context(|| format!("/proc/{pid}/stat has an unknown form"))
}

/// Fields 14 and 15 of `/proc/PID/stat`, and 16 and 17 (proc(5)), counted from the third.
const USER_AND_SYSTEM: usize = 11;
const OF_CHILDREN: usize = 13;

/// Two fields of it. The second may hold blanks and parentheses, so counting starts behind its last parenthesis.
fn ticks(stat: &str, from: usize) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(from);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64((user + system) as f64 / per_second as f64))
}

/// The middle one; of an even number the upper middle. Zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_ticks_are_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 70 30 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat, USER_AND_SYSTEM), Some(Duration::from_secs(2)));
        assert_eq!(ticks(stat, OF_CHILDREN), Some(Duration::from_secs(1)));
        assert_eq!(ticks("7 (a", USER_AND_SYSTEM), None);
    }

    #[test]
    fn work_is_measured() {
        let idle = of_command(Command::new("true").arg("")).unwrap();
        let busy =
            of_command(Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]));
        assert!(busy.unwrap() > idle);
        assert!(of_command(&mut Command::new("false")).is_err());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
