//! HAProxy as a peer: one thread, no log, connections kept and shared.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::load::Pattern;
use crate::server::{Server, free_address};
use crate::tools;

/// A reverse proxy in front of `upstream` that drops what a pattern matches.
pub fn proxy(folder: &Path, upstream: SocketAddr, patterns: &[Pattern]) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let mut refuse = String::new();
    for (name, sample, decoded) in [("raw", "url", false), ("decoded", "url,url_dec", true)] {
        let lines: String =
            patterns.iter().filter(|p| p.decoded == decoded).map(|p| format!("{}\n", p.text)).collect();
        if !lines.is_empty() {
            let file = folder.join(name);
            fs::write(&file, lines)?;
            refuse += &format!("    http-request reject if {{ {sample} -m reg -i -f {} }}\n", file.display());
        }
    }
    let text = format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend web
    bind {address}
{refuse}    http-request set-header X-Forwarded-Proto http
    default_backend origin
backend origin
    server one {upstream}
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new("haproxy");
    command.env("PATH", tools::search_path()).arg("-db").arg("-f").arg(&file);
    Server::start(&mut command, address)
}
