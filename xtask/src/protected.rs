//! A server that is protected: a publisher of one feed, a gateway, and an agent that follows the one with its event
//! stream open and keeps a mitigation in force on the other. What that takes of a machine is measured (`bench idle`),
//! and which functions it runs is found out (`dist --order`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo::{output, root, succeed};
use crate::server::{Server, end, free_address};

/// How long anything is waited for; an agent under an instrument takes its time.
const PATIENCE: Duration = Duration::from_secs(180);

/// All of it; ended when dropped.
pub struct Protected {
    agent: Child,
    folder: PathBuf,
    /// What the agent was started with.
    pub config: String,
    _others: Vec<Server>,
}

impl Protected {
    /// Starts `program` as publisher and gateway in `folder`, which is made anew, and then `agent` with the words of
    /// an agent added; returns when the mitigation is in force. `secure`: the feed comes over TLS.
    pub fn start(program: &Path, folder: &Path, secure: bool, mut agent: Command) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let data = folder.join("data");
        fs::create_dir_all(data.join("gateway"))?;
        let feed = folder.join("feed");
        let stopgap = |words: &[&str]| output(Command::new(program).args(words)).map(drop);
        stopgap(&["feed", "init", text(&feed)?, "--name", "example"])?;
        let from = root().join("mitigations/M1");
        succeed(Command::new("cp").arg("-r").arg(from).arg(feed.join("mitigations/M1")))?;
        stopgap(&["feed", "publish", text(&feed)?])?;

        let listen = |words: &[&str]| {
            let address = free_address()?;
            let mut command = Command::new(program);
            command.args(words).args(["--listen", &address.to_string()]).stderr(Stdio::null());
            Server::start(&mut command, address)
        };
        let publisher = listen(&["feed", "serve", text(&feed)?])?;
        // What is behind the gateway answers, whatever it says.
        let upstream = format!("http://{}", publisher.address);
        let (rules, control) = (data.join("gateway/live/rules.xml"), data.join("gateway/control.sock"));
        let files = ["--rules", text(&rules)?, "--control", text(&control)?];
        let gateway = listen(&[&["gateway", "run", "--upstream", &upstream], &files[..]].concat())?;
        let mut config = format!(
            "data = {data:?}\nlogs = {logs:?}\nmetrics = {metrics:?}\n",
            logs = folder.join("logs"),
            metrics = folder.join("stopgap.prom"),
        );
        let mut others = vec![];
        let mut url = upstream;
        if secure {
            let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
            self_signed(&certificate, &key)?;
            let tls = ["--tls-cert", text(&certificate)?, "--tls-key", text(&key)?];
            let server = listen(&[&["feed", "serve", text(&feed)?], &tls[..]].concat())?;
            url = format!("https://{}", server.address);
            config += &format!("ca_bundle = {certificate:?}\n");
            others.push(server);
        }
        config += &format!(
            "[facts]\nexchange = \"15.2.721.2\"\n\
             [[feed]]\nname = \"example\"\nurl = \"{url}/feed.xml\"\ntrust = {trust:?}\n\
             [[target]]\nkind = \"gateway\"\nsites = {{ \"Default Web Site\" = [\"mail.example.org\"] }}\n\
             listeners = [\"http://{gateway}\"]\n",
            trust = feed.join("trust.toml"),
            gateway = gateway.address,
        );
        others.extend([publisher, gateway]);

        let path = folder.join("stopgap.toml");
        fs::write(&path, &config)?;
        agent.args(["agent", "run", "--config"]).arg(&path).stdin(Stdio::null());
        agent.stderr(fs::File::create(folder.join("agent.stderr"))?);
        let agent = agent.spawn().context("cannot start the agent")?;
        let this = Self { agent, folder: folder.to_owned(), config, _others: others };
        let deadline = Instant::now() + PATIENCE;
        while this.metric("stopgap_mitigation_in_force{") != Some(1.0) {
            if Instant::now() > deadline {
                bail!("the mitigation is not in force: see {}", folder.join("agent.stderr").display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(this)
    }

    /// The agent's process.
    pub fn pid(&self) -> u32 {
        self.agent.id()
    }

    /// Gives the agent another configuration, which it reads at once.
    pub fn configure(&self, config: &str) -> Result<()> {
        Ok(fs::write(self.folder.join("stopgap.toml"), config)?)
    }

    /// A value of its metrics, by the beginning of the line.
    pub fn metric(&self, start: &str) -> Option<f64> {
        let text = fs::read_to_string(self.folder.join("stopgap.prom")).ok()?;
        text.lines().find(|line| line.starts_with(start))?.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        end(&mut self.agent, PATIENCE);
    }
}

/// A certificate for loopback that is its own authority.
fn self_signed(certificate: &Path, key: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    output(openssl.arg("-keyout").arg(key).arg("-out").arg(certificate)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
