//! The hub that is measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::super::Bench;
use crate::cargo::output;
use crate::server::{Server, free_address};

/// A hub that runs.
pub struct Hub {
    server: Server,
    stopgap: PathBuf,
    data: PathBuf,
    database: Option<String>,
    secure: bool,
}

impl Hub {
    /// On this data; `secure`: with TLS by an authority of its own.
    pub fn start(bench: &Bench, data: &Path, database: Option<&str>, secure: bool) -> Result<Hub> {
        fs::create_dir_all(data)?;
        let address = free_address()?;
        let mut command = Command::new(&bench.stopgap);
        command
            .args(["hub", "run", "--listen", &address.to_string(), "--connections", "12000", "--data"])
            .arg(data);
        if let Some(url) = database {
            command.env("STOPGAP_HUB_DATABASE", url);
        }
        if secure {
            command.args(["--name", "127.0.0.1"]);
        }
        let log = fs::File::options().create(true).append(true).open(data.join("stderr"))?;
        let server = Server::start(command.stderr(Stdio::from(log)).env("STOPGAP_LOG", "warn"), address)?;
        let (stopgap, data) = (bench.stopgap.clone(), data.to_owned());
        Ok(Hub { server, stopgap, data, database: database.map(str::to_owned), secure })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Where agents find it, and the authority that they believe.
    pub fn url(&self) -> (String, Option<PathBuf>) {
        let scheme = if self.secure { "https" } else { "http" };
        (format!("{scheme}://{}", self.address()), self.secure.then(|| self.data.join("ca/ca.pem")))
    }

    /// An administrator's token.
    pub fn token(&self) -> Result<String> {
        self.made(&["hub", "token", "create", "--role", "administrator"])
    }

    /// The secret of a token with which so many servers may join.
    pub fn enrollment(&self, uses: usize) -> Result<String> {
        let token = self.made(&["hub", "enrollment", "create", "--uses", &uses.to_string()])?;
        Ok(token.split('.').next().unwrap_or_default().to_owned())
    }

    fn made(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.stopgap);
        command.args(arguments).arg("--data").arg(&self.data);
        if let Some(url) = &self.database {
            command.env("STOPGAP_HUB_DATABASE", url);
        }
        Ok(output(&mut command)?.trim().to_owned())
    }

    /// KiB of its memory that are resident.
    pub fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(number.parse()?)
    }
}
