//! HAProxy: frontends with the hook of `translate::haproxy`, and one map for all.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::haproxy::{HaproxyConfig, gate_file, translate};

use super::{Process, Server, await_listening, free_address, site};
use crate::books::Book;
use crate::client::Seen;

/// Its own answers: the request cannot be read (400, 408), or has a body that is coded in a way
/// that it does not know (422) or that HTTP/1.0 does not have (413).
const OWN: &[u16] = &[400, 405, 408, 413, 414, 422, 501, 505];

pub fn start(folder: &Path, books: &[Book], origin: SocketAddr) -> Server {
    let mut server = Server::new("haproxy", Seen::Closed, OWN, books.len());
    fs::create_dir_all(folder).unwrap();
    let told = server.told(books, |site| translate(&[site]).map(drop).map_err(|error| error.reason));
    let sites: Vec<SiteRules> = told.iter().map(|n| site(*n, &books[*n])).collect();
    let config = translate(&sites).unwrap();
    let map = folder.join("rules.map").display().to_string();
    fs::write(&map, config.map()).unwrap();
    fs::write(gate_file(&map), config.gate()).unwrap();
    let hook = HaproxyConfig::hook(&map).unwrap();
    for _ in 0..10 {
        let addresses: Vec<SocketAddr> = told.iter().map(|_| free_address()).collect();
        let frontends: String = told
            .iter()
            .zip(&addresses)
            .map(|(n, address)| {
                format!("frontend site{n}.example\n bind {address}\n{hook}\n default_backend origin\n")
            })
            .collect();
        let text = format!(
            "global\n maxconn 2000\ndefaults\n mode http\n timeout client 30s\n timeout connect 30s\n \
             timeout server 30s\n timeout http-request 10s\nbackend origin\n http-reuse always\n \
             server origin {origin}\n{frontends}"
        );
        fs::write(folder.join("haproxy.cfg"), text).unwrap();
        let mut child = Command::new("/usr/sbin/haproxy")
            .arg("-db")
            .arg("-f")
            .arg(folder.join("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        if await_listening(&mut child, &addresses) {
            server.run(told, addresses, Process(child));
            return server;
        }
        drop(Process(child));
    }
    panic!("HAProxy does not start: {}", fs::read_to_string(folder.join("stderr")).unwrap());
}
