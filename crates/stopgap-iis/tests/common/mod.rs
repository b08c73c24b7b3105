//! The real server of the corpus, as a tree.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

/// The corpus's sample of an Exchange server; says that the test skipped where it is absent.
pub fn corpus(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STOPGAP_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let samples = folder.join("iis-exchange2016");
    if samples.is_dir() {
        return Some(samples);
    }
    println!("skipped (corpus absent): {test}");
    None
}

/// Every file below a folder: its path with slashes, its bytes.
pub fn walk(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The folder that `owa` and the applications in it are served from.
pub const OWA: &str = r"C:\Program Files\Microsoft\Exchange Server\V15\FrontEnd\HttpProxy\owa\web.config";

/// The corpus's samples, each in the folder of its virtual directory.
pub fn laid_out(samples: &Path) -> stopgap_iis::MemoryTree {
    let v15 = r"C:\Program Files\Microsoft\Exchange Server\V15";
    let folders = [
        ("OWA", "owa"),
        ("EAS", "sync"),
        ("ECP", "ecp"),
        ("RPC", "rpc"),
        ("AutoD", "Autodiscover"),
        ("MAPI", "mapi"),
    ];
    let back_end = [
        ("AutoD", "Autodiscover"),
        ("EAS", "sync"),
        ("EWS", r"exchweb\EWS"),
        ("MapiEmsmdb", r"mapi\emsmdb"),
        ("MapiNspi", r"mapi\nspi"),
        ("PowerShell", "PowerShell-Proxy"),
        ("Push", "PushNotifications"),
    ];
    let mut tree = stopgap_iis::MemoryTree::default();
    for (name, bytes) in walk(samples) {
        let of = |prefix: &str| name.strip_prefix(prefix)?.strip_suffix("_web.config").map(str::to_owned);
        let folder = |list: &[(&str, &str)], sample: &str| {
            let found = list.iter().find(|(known, _)| *known == sample);
            found.map_or_else(|| sample.to_owned(), |(_, folder)| (*folder).to_owned())
        };
        let home = if name == "applicationHost.config" {
            r"C:\Windows\System32\inetsrv\config\applicationHost.config".to_owned()
        } else if name == "DefaultWebSite_web.config" {
            r"C:\inetpub\wwwroot\web.config".to_owned()
        } else if name == "ExchangeBackEnd-Rpc_web.config" {
            r"C:\Windows\System32\RpcProxy\web.config".to_owned()
        } else if let Some(sample) = of("DefaultWebSite-") {
            format!(r"{v15}\FrontEnd\HttpProxy\{}\web.config", folder(&folders, &sample))
        } else if let Some(sample) = of("ExchangeBackEnd-") {
            format!(r"{v15}\ClientAccess\{}\web.config", folder(&back_end, &sample))
        } else if name.starts_with("DefaultWebSite") {
            format!(r"{v15}\FrontEnd\HttpProxy\SharedWebConfig.config")
        } else {
            format!(r"{v15}\ClientAccess\SharedWebConfig.config")
        };
        tree.insert(&home, bytes);
    }
    tree
}
