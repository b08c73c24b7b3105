//! Processes that run files which were replaced since: after an update a program goes on with what it has
//! loaded, and the kernel marks the mappings of such files `(deleted)`.
//!
//! Source: `proc_pid_maps(5)`, `proc_pid_stat(5)`. Not in here: to which package a file belongs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The kernel gives a process 65,530 mappings at most by default, of some hundred octets each.
const MAPS: u64 = 64 << 20;
/// Lines of other files of `/proc` are short.
const SMALL: u64 = 16 * 1024;
/// More processes than a server has; the kernel's own bound is four million.
const MOST: usize = 500_000;

/// A process for as long as the system runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in hundredths of a second since the system did: a number is used again, with this it is
    /// not.
    pub start: u64,
}

/// One that runs replaced files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stale {
    pub process: Process,
    /// As the kernel has it, 15 octets.
    pub name: String,
    /// The replaced files that were asked for, as the kernel names them.
    pub files: BTreeSet<String>,
}

/// What looking at all of them gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub stale: Vec<Stale>,
    /// How many there are, and how many of them could not be looked at.
    pub all: usize,
    pub unread: usize,
}

/// `/proc`, or a folder that looks like it.
#[derive(Debug, Clone)]
pub(super) struct Proc(PathBuf);

impl Proc {
    pub(super) fn at(root: &Path) -> Proc {
        Proc(root.join("proc"))
    }

    /// Every process of this system that has a replaced file mapped for which `asked` holds. Processes of
    /// other systems, in containers, have packages of their own and are left out.
    pub(super) fn scan(&self, asked: impl Fn(&str) -> bool) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let here = self.namespace("self");
        for entry in fs::read_dir(&self.0)?.take(MOST) {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            scan.all += 1;
            match self.replaced(pid, &asked) {
                Ok(files) if files.is_empty() => {}
                Ok(files) => {
                    let elsewhere = self.namespace(&pid.to_string());
                    // It ended in between, or belongs to another system.
                    if elsewhere.is_some() && elsewhere != here {
                        continue;
                    }
                    if let Some((process, name)) = self.process(pid) {
                        scan.stale.push(Stale { process, name, files });
                    }
                }
                // In a sandbox the first process is the one that holds it, which not even root may look at, and
                // it is of no package here; systemd executes itself anew when it is updated.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid != 1 => scan.unread += 1,
                // It ended while it was looked at.
                Err(_) => scan.all -= 1,
            }
        }
        scan.stale.sort_by_key(|stale| stale.process);
        Ok(scan)
    }

    /// Whether a process goes on with the same replaced files; it may have ended, or begun something else.
    pub(super) fn still(&self, stale: &Stale) -> bool {
        let same = self.process(stale.process.pid).is_some_and(|(process, _)| process == stale.process);
        let files = self.replaced(stale.process.pid, |file| stale.files.contains(file));
        same && files.is_ok_and(|files| files == stale.files)
    }

    /// Hundredths of a second since the system began.
    pub(super) fn uptime(&self) -> Option<u64> {
        let text = self.small("uptime")?;
        let (seconds, hundredths) = text.split_ascii_whitespace().next()?.split_once('.')?;
        seconds.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths.parse().ok()?)
    }

    /// What tells one run of the system from the next.
    pub(super) fn boot(&self) -> Option<String> {
        Some(self.small("sys/kernel/random/boot_id")?.trim().to_owned())
    }

    /// The replaced files that a process has mapped.
    fn replaced(&self, pid: u32, asked: impl Fn(&str) -> bool) -> io::Result<BTreeSet<String>> {
        let mut bytes = Vec::new();
        File::open(self.0.join(format!("{pid}/maps")))?.take(MAPS).read_to_end(&mut bytes)?;
        Ok(replaced(&bytes).filter(|file| asked(file)).collect())
    }

    fn process(&self, pid: u32) -> Option<(Process, String)> {
        let stat = self.small(&format!("{pid}/stat"))?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        // The 22nd field; behind the name it is the 20th. Hundredths of a second whatever the kernel's own
        // clock (USER_HZ, which is 100 on every architecture that Rust's standard library runs on).
        let start = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some((Process { pid, start }, name.chars().filter(|c| !c.is_control()).collect()))
    }

    fn namespace(&self, process: &str) -> Option<PathBuf> {
        fs::read_link(self.0.join(process).join("ns/pid")).ok()
    }

    fn small(&self, name: &str) -> Option<String> {
        super::read(&self.0.join(name), SMALL).ok().flatten()
    }
}

const MARK: &[u8] = b" (deleted)";

/// The files of those lines that end in the mark; what has no file, as shared memory, is none.
fn replaced(maps: &[u8]) -> impl Iterator<Item = String> {
    // Most processes have none: one search over everything is quicker than looking at each line.
    let mut found = memchr::memmem::find_iter(maps, MARK).map(|at| {
        let start = memchr::memrchr(b'\n', maps.get(..at).unwrap_or_default()).map_or(0, |end| end + 1);
        let end =
            memchr::memchr(b'\n', maps.get(at..).unwrap_or_default()).map_or(maps.len(), |end| at + end);
        maps.get(start..end).unwrap_or_default()
    });
    std::iter::from_fn(move || found.next()).filter_map(|line| {
        let line = line.strip_suffix(MARK)?;
        let path = line.get(memchr::memchr(b'/', line)?..)?;
        let none = [&b"/memfd:"[..], b"/dev/", b"/SYSV", b"/anon_hugepage"]
            .iter()
            .any(|none| path.starts_with(none));
        (!none).then(|| String::from_utf8_lossy(path).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c0a20000 r-xp 00002000 fd:00 1234                       /usr/sbin/nginx (deleted)
7f00aa000000-7f00aa010000 r--p 00000000 fd:00 99                         /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f00aa010000-7f00aa020000 r-xp 00010000 fd:00 99                         /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f00ab000000-7f00ab010000 r-xp 00000000 fd:00 77                         /usr/lib/x86_64-linux-gnu/libc.so.6
7f00ac000000-7f00ac010000 rw-s 00000000 00:01 7                          /memfd:pulse (deleted)
7f00ad000000-7f00ad010000 rw-s 00000000 00:01 8                          /dev/zero (deleted)
7f00ae000000-7f00ae010000 rw-s 00000000 00:01 9                          /SYSV00000000 (deleted)
7f00af000000-7f00af010000 r--p 00000000 fd:00 12                         /opt/a (deleted)/b
7fff00000000-7fff00021000 rw-p 00000000 00:00 0                          [stack]
";

    #[test]
    fn replaced_files_are_told_from_shared_memory() {
        let files: BTreeSet<String> = replaced(MAPS.as_bytes()).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_eq!(files, ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/sbin/nginx"]);
        assert_eq!(replaced(b"").count(), 0);
        assert_eq!(replaced(b" (deleted)").count(), 0);
        assert_eq!(replaced(b"/x (deleted)").collect::<Vec<_>>(), ["/x"]);
    }

    fn system() -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join("proc").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let stat = |name: &str, start: u64| format!("1 ({name}) S 1 {}{start} 0", "0 ".repeat(17));
        write("uptime", "4242.17 100.00\n");
        write("812/maps", MAPS);
        write("812/stat", &stat("nginx: a) b", 5000));
        write("813/maps", "");
        write("813/stat", &stat("kthread", 1));
        write("900/stat", &stat("gone", 1));
        write("cpuinfo", "");
        let proc = Proc::at(root.path());
        (root, proc)
    }

    #[test]
    fn a_process_is_known_by_its_number_and_its_beginning() {
        let (root, proc) = system();
        let scan = proc.scan(|file| file.ends_with("nginx")).unwrap();
        let [stale] = &scan.stale[..] else { panic!("{scan:?}") };
        assert_eq!(stale.process, Process { pid: 812, start: 5000 });
        assert_eq!(stale.name, "nginx: a) b");
        assert_eq!(stale.files.iter().collect::<Vec<_>>(), ["/usr/sbin/nginx"]);
        // The one without maps ended while it was looked at.
        assert_eq!((scan.all, scan.unread), (2, 0));
        assert_eq!(proc.uptime(), Some(424_217));
        assert!(proc.still(stale));
        // Another one under its number.
        let stat = root.path().join("proc/812/stat");
        let text = fs::read_to_string(&stat).unwrap();
        fs::write(&stat, text.replace("5000", "6000")).unwrap();
        assert!(!proc.still(stale));
        // The same one, which executed the new file.
        fs::write(&stat, text).unwrap();
        fs::write(root.path().join("proc/812/maps"), "").unwrap();
        assert!(!proc.still(stale));
        assert!(proc.scan(|_| false).unwrap().stale.is_empty());
    }

    /// The kernel's own words, for a real process whose program is replaced as a package manager does it.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_real_process_whose_program_was_replaced_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sleeper");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let proc = Proc::at(Path::new("/"));
        let ours = |file: &str| file.starts_with(folder.path().to_str().unwrap());
        let before = proc.scan(ours).unwrap();
        fs::copy("/bin/sleep", folder.path().join("sleeper.dpkg-new")).unwrap();
        fs::rename(folder.path().join("sleeper.dpkg-new"), &program).unwrap();
        let after = proc.scan(ours).unwrap();
        let still = after.stale.first().is_some_and(|stale| proc.still(stale));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(before.stale, []);
        let [stale] = &after.stale[..] else { panic!("{after:?}") };
        assert_eq!((stale.process.pid, stale.name.as_str()), (child.id(), "sleeper"));
        assert!(still && !proc.still(stale));
        assert!(stale.process.start <= proc.uptime().unwrap());
    }
}
