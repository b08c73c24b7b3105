//! The agent with nothing to do: what it takes of a machine, beside CrowdSec's agent over the same minutes; and a
//! cycle that finds everything as it should be.
//!
//! The agent follows a feed over HTTP, with its event stream open, and has a mitigation in force on a gateway.
//! CrowdSec is Debian's package as it comes, in a root of its own that this makes with debootstrap; both
//! measured by the clock that the kernel keeps for a process. That leaves out what a process starts: an agent with
//! an nginx asks `nginx -T` in each cycle, so such cycles are measured, too, and what was started beside them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::cpu::of_ended_children;
use super::{Bench, report};
use crate::cargo::{output, succeed};
use crate::protected::Protected;
use crate::server::{Server, free_address};

/// Of the product's promise: memory, and CPU time in ten minutes.
const PROMISED: &str = "promised: under 15 MB, under 50 ms in ten minutes, under 10 ms a cycle";
/// After a start there is work to do; what idles has done it by then.
const SETTLING: Duration = Duration::from_secs(30);
/// How long cycles follow each other every second.
const CYCLING: Duration = Duration::from_secs(60);
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The section of the page.
pub fn run(bench: &Bench, minutes: u32) -> Result<String> {
    let folder = bench.scratch.join("idle");
    let mut agent = Protected::start(&bench.dist, &folder, false, Command::new(&bench.dist))?;
    let crowdsec = CrowdSec::start(&bench.scratch);
    std::thread::sleep(SETTLING);
    let before = (cpu(agent.pid())?, crowdsec.as_ref().ok().map(|peer| cpu(peer.pid)).transpose()?);
    std::thread::sleep(Duration::from_secs(u64::from(minutes) * 60));
    let ours = cpu(agent.pid())? - before.0;
    let taken = memory(agent.pid())?;
    let mut rows = vec![vec![
        String::new(),
        "memory (RSS)".into(),
        "at most".into(),
        "its own".into(),
        format!("CPU in {minutes} min"),
        "scaled to ten".into(),
    ]];
    let mut row = |name: &str, taken: Memory, spent: Duration| {
        let ms = spent.as_secs_f64() * 1e3;
        let scaled = ms * 10.0 / f64::from(minutes);
        let of = [taken.resident, taken.highest, taken.own].map(|value| format!("{value:.1} MB"));
        rows.push([&[name.to_owned()][..], &of, &[ms, scaled].map(|ms| format!("{ms:.1} ms"))].concat());
    };
    row("stopgap agent", taken, ours);
    let mut peers: Vec<String> = Vec::new();
    match (&crowdsec, before.1) {
        (Ok(peer), Some(before)) => {
            row("crowdsec", memory(peer.pid)?, cpu(peer.pid)? - before);
            peers.push(peer.version.clone());
        }
        (Err(error), _) => peers.push(format!("crowdsec not measured: {error:#}")),
        _ => {}
    }
    drop(crowdsec);
    let alone = cycle_every_second(&mut agent, "")?;
    let (nginx, target) = nginx(&folder.join("nginx"))?;
    let beside = cycle_every_second(&mut agent, &target)?;
    let after = memory(agent.pid())?;
    drop((nginx, agent));
    Ok(format!(
        "{}\nA cycle with nothing to do, the feed asked included: {:.1} ms CPU ({} cycles in {} s). With an nginx of \
         one site as a second target {:.1} ms, and beside that {:.1} ms of `nginx -T` and what else it starts. After \
         these cycles: {:.1} MB, at most {:.1} MB.\n\n\
         Made by `cargo xtask bench idle --minutes {minutes}`, after {} s of settling; {PROMISED}. The binary is the \
         one that is shipped (profile `dist`). {}. {}.\n",
        report::table(&rows),
        alone.each_ms(alone.own),
        alone.count,
        CYCLING.as_secs(),
        beside.each_ms(beside.own),
        beside.each_ms(beside.started),
        after.resident,
        after.highest,
        SETTLING.as_secs(),
        report::machine(&[]),
        peers.join("; "),
    ))
}

/// An nginx with one site that has no hook, and the table that makes it a target.
fn nginx(folder: &Path) -> Result<(Server, String)> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let folder = text(folder)?;
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|of| format!("{of}_temp_path {folder}/{of};")).concat();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n\
         http {{ {temporary} access_log off;\n\
         server {{ listen {address}; server_name www.example.org; location / {{ return 200 ok; }} }} }}\n"
    );
    let file = format!("{folder}/nginx.conf");
    fs::write(&file, configuration)?;
    let server = Server::start(Command::new(NGINX).args(["-c", &file]).stderr(Stdio::null()), address)?;
    Ok((server, format!("[[target]]\nkind = \"nginx\"\nbinary = {NGINX:?}\nconfig = {file:?}\n")))
}

const NGINX: &str = "/usr/sbin/nginx";

/// Cycles that followed each other.
struct Cycles {
    count: u64,
    /// CPU time of all, the agent's.
    own: Duration,
    /// Of the programs that it started, counted in clock ticks.
    started: Duration,
}

impl Cycles {
    fn each_ms(&self, spent: Duration) -> f64 {
        spent.as_secs_f64() * 1e3 / self.count as f64
    }
}

/// A cycle every second for a while, with `more` tables in its configuration.
fn cycle_every_second(agent: &mut Protected, more: &str) -> Result<Cycles> {
    agent.configure(&format!("interval = \"1s\"\n{}{more}", agent.config))?;
    std::thread::sleep(Duration::from_secs(5));
    let state = || {
        let cycles = agent.metric("stopgap_cycles_total ").context("metrics")?;
        Ok::<_, anyhow::Error>((cycles, cpu(agent.pid())?, of_ended_children(agent.pid())?))
    };
    let before = state()?;
    std::thread::sleep(CYCLING);
    let after = state()?;
    let count = after.0 - before.0;
    if count < 1.0 {
        bail!("the agent ran no cycle within {} s", CYCLING.as_secs());
    }
    Ok(Cycles { count: count as u64, own: after.1 - before.1, started: after.2 - before.2 })
}

/// CrowdSec's agent with its local API, in a root of its own.
struct CrowdSec {
    holder: Child,
    pid: u32,
    version: String,
}

impl CrowdSec {
    fn start(scratch: &Path) -> Result<CrowdSec> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a root of its own takes root's rights");
        }
        let base = scratch.join("crowdsec-root");
        if !base.is_dir() {
            let new = scratch.join("crowdsec-root.new");
            let _ = fs::remove_dir_all(&new);
            let mut debootstrap = Command::new("debootstrap");
            debootstrap.args(["--variant=minbase", "bookworm"]).arg(&new).stdout(Stdio::null());
            succeed(debootstrap.env("PATH", crate::tools::search_path()))?;
            // A file that is not empty keeps it from registering with its makers' service.
            fs::create_dir_all(new.join("etc/crowdsec"))?;
            fs::write(new.join("etc/crowdsec/online_api_credentials.yaml"), "# none\n")?;
            let install = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" sh -c 'apt-get update -q && \
                           apt-get install -q -y --no-install-recommends crowdsec'";
            let mut inside = Command::new("unshare");
            inside.args(["--mount", "sh", "-c", install]).arg(&new).stdin(Stdio::null());
            succeed(inside.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))?;
            fs::rename(&new, &base)?;
        }
        let mut version = Command::new("chroot");
        version.arg(&base).args(["dpkg-query", "-W", "-f", "${Package} ${Version}", "crowdsec"]);
        let version = output(&mut version)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c"]);
        // Its parts talk over loopback; nobody else is there.
        let inside = "ip link set lo up && mount -t proc proc \"$0/proc\" && exec chroot \"$0\" crowdsec -c \
                      /etc/crowdsec/config.yaml";
        command.arg(inside).arg(&base);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let holder = command.spawn().context("cannot start crowdsec")?;
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let child = fs::read_to_string(&children).unwrap_or_default();
            let pid: u32 =
                child.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or_default();
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "crowdsec\n") {
                return Ok(CrowdSec { holder, pid, version });
            }
            if Instant::now() > deadline {
                bail!("crowdsec does not start");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for CrowdSec {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// User and system time of a process so far, to the nanosecond, threads that have ended included.
fn cpu(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?)).context("its clock")?;
    Ok(Duration::from(clock.now().with_context(|| format!("process {pid} has ended"))?))
}

/// Memory of a process, in MB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident now: its own, and pages of files that are mapped.
    pub(super) resident: f64,
    /// The same at most so far.
    pub(super) highest: f64,
    /// Of it what no file holds.
    pub(super) own: f64,
}

pub(super) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let megabytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024.0 / 1e6)
    };
    let [resident, highest, own] = ["VmRSS:", "VmHWM:", "RssAnon:"].map(megabytes);
    let found = resident.zip(highest).zip(own);
    found
        .map(|((resident, highest), own)| Memory { resident, highest, own })
        .context("/proc/PID/status has an unknown form")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
