//! The Apache that runs here: what it says of its configuration, and its graceful restart.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::dump::{self, Dump};
use crate::driver::DriverError;
use crate::host::{Bind, Command, Host, Output};
use crate::server::process::{self, Workers, in_pid_file, is_one_of, pipes, signal, sockets, wait, words};
use crate::server::{Settings, Tested};

/// Apache reads its whole configuration anew before it starts new workers; with thousands of virtual hosts that
/// takes seconds.
const HANDOVER: Duration = Duration::from_secs(20);

/// At the start of a restart its workers close kept connections that are idle, and more of them are, the longer the
/// clients wait for the processor: it is theirs alone until then. No restart is shorter.
const UNDISTURBED: Duration = Duration::from_millis(25);

/// What Apache prints of its configuration, with a folder laid over another if asked.
pub(super) fn dump(settings: &Settings, host: &dyn Host, bind: Option<Bind>) -> Result<Dump, DriverError> {
    let output = run(settings, host, &dump::ARGS, bind).map_err(|e| settings.cannot_run(e))?;
    if !output.success() {
        return Err(settings.broken(words(&output)));
    }
    if output.truncated {
        return Err(settings.error("it prints more of its configuration than is read".into()));
    }
    Ok(Dump::read(&String::from_utf8_lossy(&output.stdout)))
}

/// `apache2 -t`.
pub(super) fn test(settings: &Settings, host: &dyn Host, bind: Option<Bind>) -> Tested {
    let output = run(settings, host, &["-t"], bind)?;
    Ok(if output.success() { Ok(()) } else { Err(words(&output)) })
}

/// The number of the running parent process; `None`: Apache does not run.
pub(super) fn master(settings: &Settings, host: &dyn Host, dump: &Dump) -> io::Result<Option<u32>> {
    let pid_file = dump.pid_file.as_ref();
    pid_file.map_or(Ok(None), |path| in_pid_file(host, path, &programs(settings)))
}

/// Debian calls it apache2, others httpd; the configured program may be a script that starts either.
fn programs(settings: &Settings) -> [&str; 3] {
    let own = settings.binary.file_name().and_then(|name| name.to_str()).unwrap_or("apache2");
    ["apache2", "httpd", own]
}

/// Has Apache read its files anew, and waits until no worker takes connections by the old ones. The caller has made
/// sure that they are valid: with a configuration that it rejects, Apache ends itself.
pub(super) fn reload(settings: &Settings, host: &dyn Host, master: u32) -> Result<(), DriverError> {
    let listening = listening(host, master);
    let now = || Workers::of(host, master, &programs(settings), &listening);
    let before = now();
    // Apache starts workers whenever it has too few that are idle, so that one by the old files may come after this look.
    // All workers of one reading share with their parent a pipe by which it tells them to end, and the next reading
    // makes a new one.
    let before_pipes = pipes(host, master).unwrap_or_default();
    let new_pipes = || -> BTreeSet<u64> { &pipes(host, master).unwrap_or_default() - &before_pipes };
    signal(host, "USR1", master).map_err(|e| settings.not_taken(e.to_string()))?;
    // Where the workers cannot be seen, probes tell.
    let Some(before) = before else { return Ok(()) };
    host.pause(UNDISTURBED);
    let replaced = || now().filter(|now| now.have_replaced(&before));
    let taken = || {
        if before.still_accept(host, &listening) {
            return false;
        }
        let new = new_pipes();
        let is_new = |pid: &u32| pipes(host, *pid).is_some_and(|own| !own.is_disjoint(&new));
        replaced().is_some_and(|now| now.accepting().iter().all(is_new))
    };
    // A way of having workers that knows no such pipe is judged by their numbers alone.
    if wait(host, HANDOVER, taken) || (new_pipes().is_empty() && replaced().is_some()) {
        return Ok(());
    }
    let why = match is_one_of(host, master, &programs(settings)) {
        true => "it keeps serving by its old configuration; its error log tells why",
        false => "it has ended; its error log tells why",
    };
    Err(settings.not_taken(why))
}

/// How many workers of before a restart still end what they had begun; they take no connections.
pub(super) fn ending(settings: &Settings, host: &dyn Host, master: u32) -> usize {
    Workers::ending(host, master, &programs(settings), &listening(host, master))
}

/// The sockets on which the parent listens, which its workers share.
fn listening(host: &dyn Host, master: u32) -> BTreeSet<u64> {
    let own = sockets(host, master).unwrap_or_default();
    own.intersection(&process::listening(host, master)).copied().collect()
}

/// With the environment that its service has: Debian's configuration asks for it.
fn run(settings: &Settings, host: &dyn Host, args: &[&str], bind: Option<Bind>) -> io::Result<Output> {
    let environment = settings.config.with_file_name("envvars");
    let (environment, binary) = (environment.to_string_lossy(), settings.binary.to_string_lossy());
    let config = settings.config.to_string_lossy();
    let folder = settings.config.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let mut all = vec!["-f", &config];
    if settings.root != Path::new("/") {
        all.extend(["-d", &folder]);
    }
    all.extend(args);
    let mut command = if host.kind(environment.as_ref().as_ref())?.is_some() {
        let with = ["-c", ". \"$0\" && exec \"$@\"", &environment, &binary];
        Command::new("/bin/sh", &[&with, all.as_slice()].concat())
    } else {
        Command::new(&settings.binary, &all)
    };
    command.bind = bind;
    host.run(&command)
}
