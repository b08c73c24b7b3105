//! Apache httpd: virtual hosts behind `translate::apache`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::apache::{ApacheConfig, translate};

use super::{Process, Server, await_listening, free_address, site};
use crate::books::Book;
use crate::client::Seen;

/// Its own answers: the request cannot be read (400, 408, 414, 417, 431), its path holds what no file system
/// has (404), is a method that it does not have here (405, 501), or a version (505). A body in a coding that it does
/// not know is 500 in a proxy.
const OWN: &[u16] = &[400, 404, 405, 408, 414, 417, 431, 500, 501, 505];

const MODULES: [&str; 9] =
    ["mpm_event", "authz_core", "alias", "setenvif", "env", "headers", "proxy", "proxy_http", "mime"];

pub fn start(folder: &Path, books: &[Book], origin: SocketAddr) -> Server {
    let mut server = Server::new("apache", Seen::Status(403), OWN, books.len());
    fs::create_dir_all(folder).unwrap();
    let told = server.told(books, |site| translate(&[site]).map(drop).map_err(|error| error.reason));
    let sites: Vec<SiteRules> = told.iter().map(|n| site(*n, &books[*n])).collect();
    let config = translate(&sites).unwrap();
    for _ in 0..10 {
        let addresses: Vec<SocketAddr> = told.iter().map(|_| free_address()).collect();
        write(folder, &told, &addresses, &config, origin);
        let mut child = Command::new("/usr/sbin/apache2")
            .args(["-D", "FOREGROUND", "-f"])
            .arg(folder.join("apache.conf"))
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
    let said = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    panic!("Apache does not start: {}{}", said("stderr"), said("error.log"));
}

/// The rules of a site in its virtual host, behind which everything is forwarded as it came.
fn write(folder: &Path, told: &[usize], addresses: &[SocketAddr], config: &ApacheConfig, origin: SocketAddr) {
    let path = folder.display();
    let modules: String = MODULES
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let user = if nix::unistd::geteuid().is_root() { "User nobody\nGroup nogroup\n" } else { "" };
    let hosts: String = told
        .iter()
        .zip(addresses)
        .map(|(n, address)| {
            let name = format!("site{n}.example");
            let inside = config.sites.iter().find(|(site, _)| *site == name).map_or("", |(_, text)| text);
            format!(
                "Listen {address}\n<VirtualHost {address}>\nServerName {name}\nAllowEncodedSlashes NoDecode\n\
                 ProxyPreserveHost On\nProxyPass \"/\" \"http://{origin}/\" nocanon\n{inside}\n</VirtualHost>\n"
            )
        })
        .collect();
    let text = format!(
        "ServerRoot {path}\nPidFile {path}/pid\nErrorLog {path}/error.log\nLogLevel crit\nServerName localhost\n\
         {modules}{user}ServerLimit 1\nStartServers 1\nThreadsPerChild 32\nMaxRequestWorkers 32\n\
         MinSpareThreads 1\nMaxSpareThreads 32\nThreadLimit 32\nKeepAlive On\nMaxKeepAliveRequests 0\n\
         KeepAliveTimeout 30\nTimeout 10\nTypesConfig /dev/null\n{}\n{hosts}",
        config.server
    );
    fs::write(folder.join("apache.conf"), text).unwrap();
}
