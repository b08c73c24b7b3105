//! The gateway: a process for each book.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Process, Server};
use crate::STOPGAP;
use crate::books::Book;
use crate::client::Seen;

/// See `Refusal::status` in the gateway, and the HTTP library's 400 and 414.
const OWN: &[u16] = &[400, 414, 417, 431, 501, 505];

pub fn start(folder: &Path, books: &[Book], origin: SocketAddr) -> Server {
    let mut server = Server::new("gateway", Seen::Closed, OWN, books.len());
    for (n, book) in books.iter().enumerate() {
        let folder = folder.join(n.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rules.xml"), &book.text).unwrap();
        match run(&folder, origin) {
            Ok((address, process)) => server.run([n], [address], process),
            Err(reason) => server.untold.push((book.name.clone(), reason)),
        }
    }
    server
}

/// Starts one with the `rules.xml` of a folder, and waits until it listens.
pub fn run(folder: &Path, origin: SocketAddr) -> Result<(SocketAddr, Process), String> {
    let mut child = Command::new(STOPGAP)
        .args(["gateway", "run", "--listen", "127.0.0.1:0", "--upstream", &format!("http://{origin}")])
        .arg("--rules")
        .arg(folder.join("rules.xml"))
        .arg("--control")
        .arg(folder.join("control.sock"))
        // Each refusal is a line at this level: a million are of no use here.
        .env("STOPGAP_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = String::new();
    let process = Process(child);
    let address = lines.by_ref().find_map(|line| {
        let address = line.strip_prefix("listening on http://").map(|address| address.parse().unwrap());
        said.push_str(&line);
        address
    });
    // Read to the end, so that it never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    match address {
        Some(address) if !said.contains("WARN") && !said.contains("ERROR") => Ok((address, process)),
        _ => Err(said),
    }
}
