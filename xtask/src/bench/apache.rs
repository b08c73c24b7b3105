//! Apache httpd with mod_security as a peer: the event model, one process, no log, no audit, bodies not
//! looked at, connections kept on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::load::Pattern;
use crate::server::{Server, free_address};
use crate::tools;

/// Where Debian keeps the modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A reverse proxy in front of `upstream` that refuses what a pattern matches.
pub fn proxy(folder: &Path, upstream: SocketAddr, patterns: &[Pattern]) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let mut rules = String::new();
    for (number, pattern) in patterns.iter().enumerate() {
        let decode = if pattern.decoded { "t:urlDecodeUni" } else { "t:none" };
        rules += &format!(
            "SecRule REQUEST_URI_RAW \"@rx (?i){}\" \"id:{},phase:1,{decode},deny,status:403,nolog\"\n",
            pattern.text,
            number + 1
        );
    }
    let modules: String = [
        ("mpm_event", "mod_mpm_event"),
        ("authz_core", "mod_authz_core"),
        ("headers", "mod_headers"),
        ("proxy", "mod_proxy"),
        ("proxy_http", "mod_proxy_http"),
        ("unique_id", "mod_unique_id"),
        ("security2", "mod_security2"),
    ]
    .iter()
    .map(|(name, file)| format!("LoadModule {name}_module {MODULES}/{file}.so\n"))
    .collect();
    let folder_name = folder.display();
    let text = format!(
        "ServerName localhost
ServerRoot {folder_name}
DefaultRuntimeDir {folder_name}
PidFile {folder_name}/apache.pid
Mutex file:{folder_name}
ErrorLog {folder_name}/error.log
Listen {address}
{modules}StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAlive On
MaxKeepAliveRequests 0
ProxyPass / http://{upstream}/ max=64
ProxyPreserveHost On
RequestHeader set X-Forwarded-Proto http
SecRuleEngine On
SecRequestBodyAccess Off
SecResponseBodyAccess Off
SecAuditEngine Off
SecDataDir {folder_name}
{rules}"
    );
    let file = folder.join("apache.conf");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new("apache2");
    command.env("PATH", tools::search_path()).arg("-DFOREGROUND").arg("-f").arg(&file);
    Server::start(&mut command, address)
}
