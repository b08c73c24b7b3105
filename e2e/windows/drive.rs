//! Drive C: as an Exchange server has it: the synthetic one of `stopgap-iis`' tests, written to where IIS has its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[allow(dead_code, reason = "helpers of tests elsewhere")]
#[path = "../../crates/stopgap-iis/tests/common/exchange.rs"]
mod exchange;

const POOLS: &str = "    <system.applicationHost>\n        <applicationPools>\n            <add name=\"DefaultAppPool\" />\n            \
    <add name=\"Own\" />\n            <add name=\"MSExchangeOABAppPool\" autoStart=\"true\" startMode=\"AlwaysRunning\" />\n        </applicationPools>\n    </system.applicationHost>\n";

/// There is one drive C: and one service control manager, and tests run side by side.
static MACHINE: Mutex<()> = Mutex::new(());

/// Keeps other tests from the machine until it is dropped.
pub fn alone() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server's files, while a test has them.
pub struct Drive {
    before: BTreeMap<PathBuf, Vec<u8>>,
    _alone: MutexGuard<'static, ()>,
}

/// IIS's own tool, which a stand-in is for.
const APPCMD: &str = r"C:\Windows\System32\inetsrv\appcmd.exe";
const POOLS_BESIDE: &str = r"C:\Windows\System32\inetsrv\pools.txt";
const ASKED: &str = r"C:\Windows\System32\inetsrv\appcmd.log";

/// The stand-in, until it is dropped.
pub struct Appcmd;

impl Appcmd {
    /// With pools that run.
    pub fn put(pools: &[&str]) -> Appcmd {
        fs::create_dir_all(Path::new(APPCMD).parent().unwrap()).unwrap();
        fs::copy(r"C:\stopgap-test\appcmd.exe", APPCMD).unwrap();
        fs::write(POOLS_BESIDE, pools.iter().map(|pool| format!("{pool}=Started\n")).collect::<String>())
            .unwrap();
        Appcmd
    }

    /// The state of each pool.
    pub fn pools(&self) -> String {
        fs::read_to_string(POOLS_BESIDE).unwrap().replace("\r\n", "\n")
    }

    /// Whether it was asked this, its arguments with ` | ` between.
    pub fn was_asked(&self, words: &str) -> bool {
        fs::read_to_string(ASKED).unwrap().lines().any(|line| line == words)
    }
}

impl Drop for Appcmd {
    fn drop(&mut self) {
        for file in [APPCMD, POOLS_BESIDE, ASKED] {
            let _ = fs::remove_file(file);
        }
    }
}

impl Drive {
    /// Writes them, with the line ends of Windows.
    pub fn new() -> Drive {
        let alone = alone();
        let empty = "<configuration>\n</configuration>\n";
        let host = exchange::host(POOLS);
        for (path, text) in [
            (exchange::HOST, host.as_str()),
            (exchange::ROOT, empty),
            (exchange::OWA, empty),
            (exchange::ECP, empty),
        ] {
            fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            fs::write(path, text.replace('\n', "\r\n")).unwrap();
        }
        Drive { before: files(), _alone: alone }
    }

    /// Whether every file is as it was, to the byte, and none is beside them.
    pub fn assert_untouched(&self) {
        let found = files();
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&self.before));
        for (path, octets) in &self.before {
            assert!(found[path] == *octets, "{} differs", path.display());
        }
    }

    /// Whether a rule of ours stands in a file.
    pub fn holds(&self, name: &str) -> bool {
        [exchange::HOST, exchange::ROOT].iter().any(|file| fs::read_to_string(file).unwrap().contains(name))
    }
}

fn files() -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = [exchange::HOST, exchange::ROOT, exchange::OWA, exchange::ECP]
        .map(|file| Path::new(file).parent().unwrap());
    let mut all = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                all.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    all
}
