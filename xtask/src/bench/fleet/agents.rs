//! The process of simulated agents, and a bare request.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::Bench;
use super::hub::Hub;
use crate::cargo::output;

/// Agents that say nothing for so long have failed: without this a lost event would be waited for without end.
const SILENT: Duration = Duration::from_secs(180);

/// Agents that listen.
pub struct Agents {
    process: Child,
    input: ChildStdin,
    lines: Receiver<std::io::Result<String>>,
}

impl Agents {
    /// Lets so many servers join, and keeps their credentials; seconds.
    pub fn enroll(bench: &Bench, hub: &Hub, credentials: &Path, count: usize) -> Result<f64> {
        let token = hub.enrollment(count)?;
        Ok(output(&mut command(bench, hub, "enroll", credentials, count, &token))?.trim().parse()?)
    }

    /// Has each send so many reports; seconds.
    pub fn report(bench: &Bench, hub: &Hub, credentials: &Path, count: usize, rounds: usize) -> Result<f64> {
        let rounds = rounds.to_string();
        Ok(output(&mut command(bench, hub, "report", credentials, count, &rounds))?.trim().parse()?)
    }

    /// Connects so many; all listen when this returns.
    pub fn listen(bench: &Bench, hub: &Hub, credentials: &Path, count: usize, token: &str) -> Result<Agents> {
        let mut command = command(bench, hub, "listen", credentials, count, token);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("no pipe")?;
        let lines = lines(process.stdout.take().context("no pipe")?);
        let mut agents = Agents { process, input, lines };
        let said = agents.line()?;
        if said != format!("connected {count}") {
            bail!("the agents say {said:?}");
        }
        Ok(agents)
    }

    /// Makes a change that concerns all: milliseconds until half of them, 99 of 100, and the last were told.
    pub fn change(&mut self) -> Result<[f64; 3]> {
        writeln!(self.input, "change")?;
        let line = self.line()?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        numbers.try_into().ok().with_context(|| format!("the agents say {line:?}"))
    }

    /// Of their process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn line(&mut self) -> Result<String> {
        next(&self.lines, SILENT)
    }
}

/// What is read, line by line. The thread ends with the writer, whose end closes the pipe.
fn lines(from: impl Read + Send + 'static) -> Receiver<std::io::Result<String>> {
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(from).lines().try_for_each(|line| sender.send(line)));
    lines
}

fn next(lines: &Receiver<std::io::Result<String>>, patience: Duration) -> Result<String> {
    match lines.recv_timeout(patience) {
        Ok(line) => line.context("the agents' words"),
        Err(RecvTimeoutError::Timeout) => bail!("the agents said nothing for {patience:?}"),
        Err(RecvTimeoutError::Disconnected) => bail!("the agents ended"),
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(bench: &Bench, hub: &Hub, what: &str, credentials: &Path, count: usize, last: &str) -> Command {
    let (url, ca) = hub.url();
    let mut command = Command::new(bench.stopgap.with_file_name("examples").join("fleet-agents"));
    command.arg(what).arg(url).arg(credentials).arg(count.to_string()).arg(last).args(ca);
    command
}

/// What one request is answered, head and body.
pub fn first_answer(address: SocketAddr, path: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: hub\r\n{headers}Connection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

    use super::*;

    #[test]
    fn agents_that_are_silent_and_agents_that_ended_are_told_apart() {
        let (read, mut write) = std::io::pipe().unwrap();
        let lines = lines(read);
        writeln!(write, "connected 3").unwrap();
        assert_eq!(next(&lines, SILENT).unwrap(), "connected 3");
        let silent = next(&lines, Duration::from_millis(1)).unwrap_err();
        assert_eq!(silent.to_string(), "the agents said nothing for 1ms");
        drop(write);
        assert_eq!(next(&lines, SILENT).unwrap_err().to_string(), "the agents ended");
    }
}
