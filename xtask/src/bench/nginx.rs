//! nginx as origin and as the peer: one worker, no log, connections kept, as the gateway has it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::server::{Server, free_address};
use crate::tools;

/// The rules as `stopgap rules translate FILE --to nginx` prints them, by the place where each part goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Belongs into `http { }`.
    pub http: String,
    /// Belongs into each `server { }`.
    pub server: String,
}

/// A server that answers everything with two bytes.
pub fn origin(folder: &Path) -> Result<Server> {
    start(folder, "", "location / { return 200 \"ok\"; }")
}

/// A reverse proxy in front of `upstream`.
pub fn proxy(folder: &Path, upstream: SocketAddr, rules: &Rules) -> Result<Server> {
    let http = format!(
        "upstream origin {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n{}",
        rules.http
    );
    let server = format!(
        "{}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}",
        rules.server
    );
    start(folder, &http, &server)
}

/// A server that answers with a file of the name `name`.
pub fn file(folder: &Path, name: &str, text: &str) -> Result<Server> {
    let root = folder.join("files");
    fs::create_dir_all(&root)?;
    fs::write(root.join(name), text)?;
    start(folder, "open_file_cache max=10;", &format!("root {};", root.display()))
}

fn start(folder: &Path, http: &str, server: &str) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let text = format!(
        "daemon off;
worker_processes 1;
pcre_jit on;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 100000000;
    variables_hash_max_size 16384;
{http}
    server {{
        listen {address};
        {server}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new("nginx");
    command.env("PATH", tools::search_path());
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&file);
    Server::start(&mut command, address)
}
