//! The stage: folders, addresses and processes of the demonstration, and what is said about it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use stopgap_publish::serve::Server;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::site::Log;
use crate::output;

/// Everything that is up.
pub struct Stage {
    folder: TempDir,
    quiet: bool,
    program: PathBuf,
    children: Vec<Child>,
    feed: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// What reached the sample site.
    pub site_log: Log,
    /// The gateway's address, once it is up.
    pub gateway: Option<SocketAddr>,
    /// The organization's hub, once it is up.
    #[cfg(feature = "hub")]
    pub hub: Option<super::organization::Organization>,
}

impl Stage {
    /// A stage in a new temporary folder.
    pub fn new(quiet: bool) -> anyhow::Result<Stage> {
        Ok(Stage {
            folder: tempfile::Builder::new().prefix("stopgap-demo-").tempdir()?,
            quiet,
            program: std::env::current_exe().context("cannot find this program's own file")?,
            children: Vec::new(),
            feed: None,
            site_log: Log::default(),
            gateway: None,
            #[cfg(feature = "hub")]
            hub: None,
        })
    }

    /// A path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The agent's configuration.
    pub fn config(&self) -> PathBuf {
        self.path("etc/stopgap.toml")
    }

    /// Says something to whoever watches.
    pub fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            output::say(text);
        }
    }

    /// Serves the feed, until [`Stage::end`].
    pub fn serve(&mut self, server: Server) {
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(ended.await) }));
        self.feed = Some((end, task));
    }

    /// Starts `stopgap` with these arguments, in a process of its own.
    pub fn spawn(&mut self, args: &[&str], stderr: Stdio) -> anyhow::Result<&mut Child> {
        let child = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start another process of this program")?;
        self.children.push(child);
        self.children.last_mut().context("the process is gone")
    }

    /// Starts the gateway in front of the site, and waits for its address.
    pub async fn spawn_gateway(&mut self, upstream: SocketAddr) -> anyhow::Result<SocketAddr> {
        let rules = self.path("data/gateway/live/rules.xml");
        let control = self.path("data/gateway/control.sock");
        std::fs::create_dir_all(self.path("data/gateway"))?;
        let upstream = format!("http://{upstream}");
        let listen = ["gateway", "run", "--listen", "127.0.0.1:0"];
        let rest = ["--upstream", &upstream, "--rules", path(&rules)?, "--control", path(&control)?];
        let address = self.spawn_listener(&[&listen[..], &rest].concat(), "listening on http://").await?;
        self.gateway = Some(address);
        Ok(address)
    }

    /// Starts `stopgap` with these arguments, and waits until it says where it listens: a line that begins with `says`.
    pub async fn spawn_listener(&mut self, args: &[&str], says: &'static str) -> anyhow::Result<SocketAddr> {
        let child = self.spawn(args, Stdio::piped())?;
        let stderr = child.stderr.take().context("a process has no output")?;
        let mut lines = BufReader::new(stderr).lines();
        let listening = tokio::time::timeout(Duration::from_secs(10), async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix(says) {
                    return Ok(address.parse()?);
                }
            }
            bail!("it ended before it listened")
        });
        let name = args.first().copied().unwrap_or_default();
        let address = listening.await.with_context(|| format!("the {name} did not start within 10 s"))?;
        // Its output is read to the end, so that it never waits for a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        address.with_context(|| format!("the {name} did not start"))
    }

    /// Starts the agent.
    pub fn spawn_agent(&mut self) -> anyhow::Result<()> {
        let config = self.config();
        self.spawn(&["agent", "run", "--config", path(&config)?], Stdio::null())?;
        Ok(())
    }

    /// Runs `stopgap` with these arguments to its end, as an operator of this server would.
    pub async fn operator(&self, args: &[&str]) -> anyhow::Result<String> {
        let config = self.config();
        self.run(&[args, &["--config", path(&config)?]].concat(), &[], "").await
    }

    /// Runs `stopgap` with these arguments, this environment and this input to its end: what it printed.
    pub async fn run(
        &self,
        args: &[&str],
        environment: &[(&str, &str)],
        input: &str,
    ) -> anyhow::Result<String> {
        let mut child = Command::new(&self.program)
            .args(args)
            // A hub of whoever runs the demonstration has no part in it.
            .env_remove("STOPGAP_HUB")
            .env_remove("STOPGAP_TOKEN")
            .env_remove("STOPGAP_HUB_CA")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that does not read has ended, which its status tells.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let mut output = String::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.read_to_string(&mut output).await?;
        }
        let status = child.wait().await?;
        if !status.success() {
            bail!("`stopgap {}` ended with {status}", args.join(" "));
        }
        Ok(output)
    }

    /// What a person can try while it stays up.
    pub fn invitation(&self) -> String {
        let Some(gateway) = self.gateway else { return String::new() };
        let config = self.config();
        let config = config.display();
        #[cfg(feature = "hub")]
        let console = self.hub.as_ref().map(|hub| hub.invitation()).unwrap_or_default();
        #[cfg(not(feature = "hub"))]
        let console = "";
        format!(
            "{console}
The gateway stays up on http://{gateway}. Try, in another terminal:

  curl -i 'http://{gateway}/owa/'
  curl -i 'http://{gateway}/autodiscover/autodiscover.json?@evil.example/PowerShell/'
  stopgap status --config {config}
  echo 'exchange = \"15.2.721.2\"' > {}    # the vulnerable build comes back, and M1 with it
  stopgap revert M1 --config {config}

Ctrl-C ends it and removes the folder.",
            self.path("etc/facts.d/exchange.toml").display(),
        )
    }

    /// Ends every process, newest first.
    pub async fn end(mut self) {
        for child in self.children.iter_mut().rev() {
            // A process that has already ended cannot be ended again.
            let _ = child.kill().await;
        }
        // It watches its folder, which goes with this value: on Windows, what is open does not go.
        if let Some((end, task)) = self.feed.take() {
            drop(end);
            let _ = task.await;
        }
    }
}

/// Arguments are text; a temporary folder with another name is refused by name.
pub fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
