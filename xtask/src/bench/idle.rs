//! The agent with nothing to do: what it takes of a machine, beside CrowdSec's agent over the same minutes; and a
//! cycle that finds everything as it should be.
//!
//! The agent follows a feed over HTTP, with its event stream open, and has a mitigation in force on a gateway.
//! CrowdSec is Debian's package as it comes, in a root of its own that this makes with debootstrap; both
//! measured by the clock that the kernel keeps for a process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use super::server::{Server, free_address};
use super::{Bench, report};
use crate::cargo::{output, root, succeed};

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
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let feed = folder.join("feed");
    stopgap(bench, &["feed", "init", text(&feed)?, "--name", "example"])?;
    let from = root().join("mitigations/M1");
    succeed(Command::new("cp").arg("-r").arg(from).arg(feed.join("mitigations/M1")))?;
    stopgap(bench, &["feed", "publish", text(&feed)?])?;
    let address = free_address()?;
    let mut serve = Command::new(&bench.stopgap);
    serve.args(["feed", "serve", text(&feed)?, "--listen", &address.to_string()]).stderr(Stdio::null());
    let publisher = Server::start(&mut serve, address)?;
    // What is behind the gateway answers, whatever it says.
    let upstream = format!("http://{}", publisher.address);
    let address = free_address()?;
    let mut gateway = Command::new(&bench.stopgap);
    gateway.args(["gateway", "run", "--listen", &address.to_string(), "--upstream", &upstream]);
    let data = folder.join("data/gateway");
    fs::create_dir_all(&data)?;
    gateway.arg("--rules").arg(data.join("live/rules.xml")).arg("--control").arg(data.join("control.sock"));
    let gateway = Server::start(gateway.stderr(Stdio::null()), address)?;

    let mut agent = Agent::start(bench, &folder, publisher.address, gateway.address)?;
    let crowdsec = CrowdSec::start(&bench.scratch);
    std::thread::sleep(SETTLING);
    let before = (agent.cpu()?, crowdsec.as_ref().ok().map(|peer| cpu(peer.pid)).transpose()?);
    std::thread::sleep(Duration::from_secs(u64::from(minutes) * 60));
    let ours = agent.cpu()? - before.0;
    let (resident, highest) = memory(agent.process.id())?;
    let mut rows = vec![vec![
        String::new(),
        "memory (RSS)".into(),
        "at most".into(),
        format!("CPU in {minutes} min"),
        "scaled to ten".into(),
    ]];
    let mut row = |name: &str, (resident, highest): (f64, f64), spent: Duration| {
        let ms = spent.as_secs_f64() * 1e3;
        let scaled = ms * 10.0 / f64::from(minutes);
        let cells = [format!("{resident:.1} MB"), format!("{highest:.1} MB"), format!("{ms:.1} ms")];
        rows.push([vec![name.to_owned()], cells.to_vec(), vec![format!("{scaled:.1} ms")]].concat());
    };
    row("stopgap agent", (resident, highest), ours);
    let mut peers: Vec<String> = Vec::new();
    match (&crowdsec, before.1) {
        (Ok(peer), Some(before)) => {
            row("crowdsec", memory(peer.pid)?, cpu(peer.pid)? - before);
            peers.push(peer.version.clone());
        }
        (Err(error), _) => peers.push(format!("crowdsec not measured: {error:#}")),
        _ => {}
    }
    let (cycles, spent) = agent.cycle_every_second()?;
    drop((crowdsec, gateway, publisher));
    Ok(format!(
        "{}\nA cycle with nothing to do, the feed asked included: {:.1} ms CPU ({cycles} cycles in {} s).\n\n\
         Made by `cargo xtask bench idle --minutes {minutes}`, after {} s of settling; {PROMISED}. {}. {}.\n",
        report::table(&rows),
        spent.as_secs_f64() * 1e3 / cycles as f64,
        CYCLING.as_secs(),
        SETTLING.as_secs(),
        report::machine(&[]),
        peers.join("; "),
    ))
}

/// The agent under measurement.
struct Agent {
    process: Child,
    program: PathBuf,
    folder: PathBuf,
    config: String,
}

impl Agent {
    fn start(bench: &Bench, folder: &Path, publisher: SocketAddr, gateway: SocketAddr) -> Result<Agent> {
        let config = format!(
            "data = {data:?}\nlogs = {logs:?}\nmetrics = {metrics:?}\n[facts]\nexchange = \"15.2.721.2\"\n\
             [[feed]]\nname = \"example\"\nurl = \"http://{publisher}/feed.xml\"\ntrust = {trust:?}\n\
             [[target]]\nkind = \"gateway\"\nsites = {{ \"Default Web Site\" = [\"mail.example.org\"] }}\n\
             listeners = [\"http://{gateway}\"]\n",
            data = folder.join("data"),
            logs = folder.join("logs"),
            metrics = folder.join("stopgap.prom"),
            trust = folder.join("feed/trust.toml"),
        );
        let path = folder.join("stopgap.toml");
        fs::write(&path, &config)?;
        let process = spawn(&bench.stopgap, folder)?;
        let program = bench.stopgap.clone();
        let agent = Agent { process, program, folder: folder.to_owned(), config };
        let deadline = Instant::now() + PATIENCE;
        while agent.metric("stopgap_mitigation_in_force{") != Some(1.0) {
            if Instant::now() > deadline {
                bail!("the mitigation is not in force: see {}", folder.join("agent.stderr").display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(agent)
    }

    fn cpu(&self) -> Result<Duration> {
        cpu(self.process.id())
    }

    /// A value of its metrics, by the beginning of the line.
    fn metric(&self, start: &str) -> Option<f64> {
        let text = fs::read_to_string(self.folder.join("stopgap.prom")).ok()?;
        text.lines().find(|line| line.starts_with(start))?.rsplit(' ').next()?.parse().ok()
    }

    /// How many cycles it ran, and the CPU time of all.
    fn cycle_every_second(&mut self) -> Result<(u64, Duration)> {
        fs::write(self.folder.join("stopgap.toml"), format!("interval = \"1s\"\n{}", self.config))?;
        // Another interval counts from the next time that the feed is asked: at once, after a start.
        let _ = self.process.kill();
        self.process.wait()?;
        self.process = spawn(&self.program, &self.folder)?;
        std::thread::sleep(Duration::from_secs(5));
        let state = || {
            Ok::<_, anyhow::Error>((self.metric("stopgap_cycles_total ").context("metrics")?, self.cpu()?))
        };
        let before = state()?;
        std::thread::sleep(CYCLING);
        let after = state()?;
        let cycles = after.0 - before.0;
        if cycles < 1.0 {
            bail!("the agent ran no cycle within {} s", CYCLING.as_secs());
        }
        Ok((cycles as u64, after.1 - before.1))
    }
}

fn spawn(program: &Path, folder: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["agent", "run", "--config"]).arg(folder.join("stopgap.toml"));
    let stderr = fs::File::create(folder.join("agent.stderr"))?;
    command.stdin(Stdio::null()).stderr(stderr).spawn().context("cannot start the agent")
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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

/// Resident memory now and at most, in MB.
fn memory(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let megabytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024.0 / 1e6)
    };
    megabytes("VmRSS:").zip(megabytes("VmHWM:")).context("/proc/PID/status has an unknown form")
}

fn stopgap(bench: &Bench, args: &[&str]) -> Result<()> {
    output(Command::new(&bench.stopgap).args(args)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
