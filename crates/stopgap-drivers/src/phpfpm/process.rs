//! The php-fpm that runs here: its own test, what its processes serve, its reload and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{Config, same};
use crate::driver::DriverError;
use crate::host::{Command, Host};
use crate::server::Settings;
use crate::server::process::{
    children, in_pid_file, is_one_of, proc, signal, sockets, tcp_listening, wait, words,
};

/// Beside the time that php-fpm itself grants to requests that are under way.
const HANDOVER: Duration = Duration::from_secs(20);

/// What php-fpm says where no pool is left, which is no fault of its configuration.
const NO_POOL: &str = "No pool defined";

/// The pools that php-fpm itself reads from a main file, by `-tt`, which starts nothing; `Err`: rejected, in its words.
pub(super) fn tested(
    settings: &Settings,
    host: &dyn Host,
    main: &Path,
) -> Result<Result<Vec<String>, String>, DriverError> {
    let command = Command::new(&settings.binary, &["-tt", "-y", &main.to_string_lossy()]);
    let output = host.run(&command).map_err(|e| settings.cannot_run(e))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.success() {
        let names = text.lines().filter_map(|line| Some(line.split_once("NOTICE: [")?.1.split_once(']')?.0));
        return Ok(Ok(names.filter(|name| *name != "global").map(str::to_owned).collect()));
    }
    if text.contains(NO_POOL) {
        return Ok(Ok(Vec::new()));
    }
    let said = text.lines().filter(|line| line.contains("ERROR")).collect::<Vec<_>>().join("; ");
    Ok(Err(if said.is_empty() { words(&output) } else { said }))
}

fn programs(settings: &Settings) -> [&str; 2] {
    let own = settings.binary.file_name().and_then(|name| name.to_str()).unwrap_or("php-fpm");
    [own, "php-fpm"]
}

/// The number of the running master process; `None`: php-fpm does not run.
pub(super) fn master(settings: &Settings, host: &dyn Host, config: &Config) -> io::Result<Option<u32>> {
    // A relative one is relative to a folder that was chosen when PHP was built.
    let pid_file = config.pid.as_ref().filter(|path| path.is_absolute());
    pid_file.map_or(Ok(None), |path| in_pid_file(host, path, &programs(settings)))
}

/// What is said where that cannot be read.
pub(super) fn unknown(error: &io::Error) -> String {
    format!("it cannot be told whether php-fpm runs: {error}")
}

/// The service that a process runs in, where systemd runs this server, from its control group.
pub(super) fn unit(host: &dyn Host, pid: u32) -> Option<String> {
    if !matches!(host.kind(Path::new("/run/systemd/system")), Ok(Some(_))) {
        return None;
    }
    let text = String::from_utf8(host.read(&proc(pid, "cgroup"), 64 << 10).ok()?).ok()?;
    // Where both versions of control groups are mounted, systemd uses one of them, and the other says nothing.
    let paths = text
        .lines()
        .filter_map(|line| line.strip_prefix("0::").or(line.split_once("name=systemd:").map(|l| l.1)));
    let mut units = paths.filter_map(|path| path.split('/').find(|part| part.ends_with(".service")));
    units.next().map(str::to_owned)
}

/// What the master has running.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Processes by the pool that their title names.
    workers: BTreeMap<String, Vec<u32>>,
    /// The local sockets on which the master listens.
    local: BTreeSet<PathBuf>,
    /// The TCP ports.
    ports: BTreeSet<u16>,
}

impl Running {
    /// `None` where the system does not tell, or the master has ended.
    pub(super) fn of(host: &dyn Host, master: u32) -> Option<Running> {
        let mut running = Running::default();
        for pid in children(host, master)? {
            let Ok(title) = host.read(&proc(pid, "cmdline"), 4096) else { continue };
            let title = String::from_utf8_lossy(&title);
            let title = title.trim_end_matches(['\0', ' ']);
            if let Some(pool) = title.strip_prefix("php-fpm: pool ") {
                running.workers.entry(pool.to_ascii_lowercase()).or_default().push(pid);
            }
        }
        let own = sockets(host, master)?;
        let table = |name| host.read(&proc(master, name), 16 << 20).unwrap_or_default();
        for line in String::from_utf8_lossy(&table("net/unix")).lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A socket that listens has the flag SO_ACCEPTCON.
            if let [_, _, _, "00010000", _, _, inode, path] = words.as_slice()
                && inode.parse().is_ok_and(|inode| own.contains(&inode))
            {
                running.local.insert(PathBuf::from(path));
            }
        }
        let tcp = tcp_listening(host, master).into_iter().filter(|socket| own.contains(&socket.inode));
        running.ports.extend(tcp.filter_map(|socket| socket.port));
        Some(running)
    }

    /// Whether the master listens where this pool does; `None`: not to be told, as with a relative path.
    fn listens(&self, listen: Option<&str>) -> Option<bool> {
        let listen = listen?;
        if listen.starts_with('/') {
            return Some(self.local.contains(Path::new(listen)));
        }
        let port = listen.rsplit_once(':').map_or(listen, |(_, port)| port);
        port.parse().ok().map(|port| self.ports.contains(&port))
    }

    /// It serves nothing.
    fn is_idle(&self) -> bool {
        self.workers.is_empty() && self.local.is_empty() && self.ports.is_empty()
    }

    fn has_workers(&self, pool: &str) -> bool {
        self.workers.contains_key(&pool.to_ascii_lowercase())
    }

    /// Whether a pool takes requests. `taken`: another pool has its address.
    pub(super) fn serves(&self, pool: &str, listen: Option<&str>, taken: bool) -> bool {
        self.has_workers(pool) || (!taken && self.listens(listen) == Some(true))
    }

    /// Whether a pool is served by none of the processes of before.
    fn is_renewed(&self, before: &Running, pool: &super::config::Pool) -> bool {
        let of = |running: &Running| {
            running.workers.get(&pool.name.to_ascii_lowercase()).cloned().unwrap_or_default()
        };
        let (old, new) = (of(before), of(self));
        !new.iter().any(|pid| old.contains(pid))
            && (pool.on_demand || !new.is_empty())
            && self.listens(pool.listen.as_deref()) != Some(false)
    }
}

/// Whether another pool of the configuration has this address: the port, or the path.
pub(super) fn is_taken(config: &Config, pool: &str, listen: Option<&str>) -> bool {
    let port = |listen: &str| listen.rsplit_once(':').map_or(listen, |(_, port)| port).to_owned();
    let Some(listen) = listen else { return false };
    config.pools.iter().any(|other| {
        !same(&other.name, pool) && other.listen.as_deref().is_some_and(|own| port(own) == port(listen))
    })
}

/// Has php-fpm read its files anew, and waits until the pools in `gone` are and all others are served by new
/// processes. One that does not run reads them when it starts.
pub(super) fn reload(
    settings: &Settings,
    host: &dyn Host,
    config: &Config,
    gone: &[(String, Option<String>)],
) -> Result<(), DriverError> {
    let not_told = |e: io::Error| settings.not_taken(unknown(&e));
    let Some(master) = master(settings, host, config).map_err(not_told)? else { return Ok(()) };
    // With a configuration that it rejects, php-fpm ends itself, and every pool with it.
    tested(settings, host, &settings.config)?.map_err(|message| settings.broken(message))?;
    let Some(before) = Running::of(host, master) else {
        return Err(settings.not_taken("its processes cannot be seen in /proc, so it is not reloaded"));
    };
    signal(host, "USR2", master).map_err(|e| settings.not_taken(e.to_string()))?;
    let is_gone = |now: &Running, (pool, listen): &(String, Option<String>)| {
        !now.serves(pool, listen.as_deref(), is_taken(config, pool, listen.as_deref()))
    };
    let done = || {
        Running::of(host, master).is_some_and(|now| {
            gone.iter().all(|pool| is_gone(&now, pool))
                && config.pools.iter().all(|pool| now.is_renewed(&before, pool))
        })
    };
    if wait(host, config.control_timeout.saturating_add(HANDOVER), done) {
        return Ok(());
    }
    let why = match is_one_of(host, master, &programs(settings)) {
        true => "it was told to read its files anew, and does not serve by them; its error log tells why",
        false => "it has ended; its error log tells why",
    };
    Err(settings.not_taken(why))
}

/// Ends php-fpm, which lets the requests that are under way end within its `process_control_timeout`.
pub(super) fn quit(settings: &Settings, host: &dyn Host, config: &Config) -> Result<(), DriverError> {
    let not_told = |e: io::Error| settings.not_taken(unknown(&e));
    let Some(master) = master(settings, host, config).map_err(not_told)? else { return Ok(()) };
    signal(host, "QUIT", master).map_err(|e| settings.not_taken(e.to_string()))?;
    // One that has ended and that nobody has asked after is still in the list of processes.
    let ended = || Running::of(host, master).is_none_or(|running| running.is_idle());
    match wait(host, config.control_timeout.saturating_add(HANDOVER), ended) {
        true => Ok(()),
        false => Err(settings.not_taken("its last pool is gone, and it was told to end, and runs on")),
    }
}
