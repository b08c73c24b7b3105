//! nginx: server blocks behind `translate::nginx`, a group of books for each instance.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::nginx::{NginxConfig, translate};

use super::{Process, Server, await_listening, free_address, site};
use crate::books::Book;
use crate::client::Seen;

/// Its own answers: the request cannot be read (400, 408, 414), is a method that it does not have (405, 501),
/// or a version (505).
const OWN: &[u16] = &[400, 405, 408, 414, 501, 505];

/// Books of one instance: nginx takes a limited number of changes of site from rule to rule.
const BOOKS: usize = 25;

pub fn start(folder: &Path, books: &[Book], origin: SocketAddr) -> Server {
    start_with(folder, books, origin, |config| config)
}

/// The same, with the translation put through `edit`: how a broken translator is tried.
pub fn start_with(
    folder: &Path,
    books: &[Book],
    origin: SocketAddr,
    edit: impl Fn(NginxConfig) -> NginxConfig,
) -> Server {
    let mut server = Server::new("nginx", Seen::Closed, OWN, books.len());
    let told = server.told(books, |site| translate(&[site]).map(drop).map_err(|error| error.reason));
    for (instance, group) in told.chunks(BOOKS).enumerate() {
        let sites: Vec<SiteRules> = group.iter().map(|n| site(*n, &books[*n])).collect();
        let config = edit(translate(&sites).unwrap());
        let (addresses, process) = launch(&folder.join(instance.to_string()), group, &config, origin);
        server.run(group.iter().copied(), addresses, process);
    }
    server
}

fn launch(
    folder: &Path,
    group: &[usize],
    config: &NginxConfig,
    origin: SocketAddr,
) -> (Vec<SocketAddr>, Process) {
    fs::create_dir_all(folder).unwrap();
    for _ in 0..10 {
        let addresses: Vec<SocketAddr> = group.iter().map(|_| free_address()).collect();
        let sites: Vec<(String, SocketAddr)> =
            group.iter().map(|n| format!("site{n}.example")).zip(addresses.iter().copied()).collect();
        write(folder, &sites, config, origin);
        let mut child = command(folder)
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        if await_listening(&mut child, &addresses) {
            return (addresses, Process(child));
        }
        drop(Process(child));
    }
    panic!("nginx does not start: {}", fs::read_to_string(folder.join("stderr")).unwrap());
}

/// nginx on the configuration of a folder, in the foreground.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .args(["-g", "daemon off;", "-e", "stderr", "-p"])
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    command
}

/// Writes the configuration: a server block for each site, with the hook, that forwards to the origin.
pub fn write(folder: &Path, sites: &[(String, SocketAddr)], config: &NginxConfig, origin: SocketAddr) {
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
        .concat();
    let servers: String = sites
        .iter()
        .map(|(name, address)| {
            format!(
                "server {{ listen {address}; server_name {name};\n{}\nlocation / {{ proxy_pass http://origin;\n\
                 proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }}\n",
                config.server
            )
        })
        .collect();
    let text = format!(
        "pid {path}/pid; error_log {path}/error.log crit; worker_processes 1;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; {temporary} large_client_header_buffers 4 64k; keepalive_requests 1000000;\n\
         client_header_timeout 5s; client_body_timeout 5s;\n\
         upstream origin {{ server {origin}; keepalive 16; keepalive_requests 1000000; }}\n\
         server_names_hash_bucket_size 256; variables_hash_max_size 8192;\n{}\n{servers} }}\n",
        config.http
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
}
