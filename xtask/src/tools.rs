//! The programs that tests use beside Rust's own: which there are, and Debian's packages for the rest.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::cargo;

/// A program of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The command, or an absolute path that must exist.
    pub name: &'static str,
    /// Debian's package.
    pub package: &'static str,
    /// What it is there for.
    pub purpose: &'static str,
}

const fn tool(name: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { name, package, purpose }
}

/// What the tests need.
pub const TESTS: &[Tool] = &[
    tool("nginx", "nginx-light", "the nginx target against the real server"),
    tool("apache2", "apache2", "the Apache target against the real server"),
    tool("haproxy", "haproxy", "the HAProxy target against the real server"),
    tool("/etc/php/8.2/fpm/php-fpm.conf", "php-fpm", "the php-fpm target against the real server"),
    // By a path that is the same for every version; the programs themselves are not in PATH.
    tool("/usr/share/postgresql-common/pg_wrapper", "postgresql", "the hub on PostgreSQL"),
    tool("wrk", "wrk", "load on real servers while rules come and go"),
    tool("xmlsec1", "xmlsec1", "signatures against another implementation"),
    // The compiler and not only `java`: a single source file is run, which needs the compiler's module.
    tool("javac", "default-jdk-headless", "signatures against javax.xml.crypto.dsig"),
    tool("xmllint", "libxml2-utils", "canonical form and the XML Schema"),
    tool("/usr/include/libxml2/libxml/c14n.h", "libxml2-dev", "canonical form of what the fuzzer writes"),
    tool("node", "nodejs", "patterns against a browser's engine"),
    tool("npm", "npm", "the packages of the console's test, by their lock file"),
    tool("chromium", "chromium", "the console in a real browser, with axe"),
    tool(
        "/usr/lib/python3/dist-packages/aiosmtpd/smtp.py",
        "python3-aiosmtpd",
        "mail against a real SMTP server",
    ),
    // The command stands for the library beside it, whose folder has another name on each architecture.
    tool("faketime", "faketime", "a server whose clock is wrong"),
    tool("openssl", "openssl", "keys and certificates of another make"),
    tool("script", "bsdutils", "questions on a terminal"),
    tool("dpkg", "dpkg", "package versions against those who define them"),
    tool("rpmbuild", "rpm", "a real rpm database"),
    tool("x86_64-w64-mingw32-windres", "binutils-mingw-w64-x86-64", "Windows programs with a version"),
    tool("i686-w64-mingw32-windres", "binutils-mingw-w64-i686", "the same of 32 bits"),
    tool("debootstrap", "debootstrap", "the package on a clean Debian"),
    // Debian keeps what a virtual environment is made with apart from the interpreter.
    tool("/usr/lib/python3.11/ensurepip/__init__.py", "python3-venv", "the hub against its own description"),
    tool("python3", "python3", "the corpus, laid out as a drive C:"),
    tool("unshare", "util-linux", "nginx's own test of staged files in a private mount namespace"),
    tool("/lib/systemd/systemd", "systemd", "services under a systemd of their own, in namespaces"),
    tool("/lib/systemd/system/dbus.service", "dbus", "the system bus of that systemd"),
    tool("/etc/ssl/certs/ca-certificates.crt", "ca-certificates", "the platform's trust store"),
];

/// What the tests for Windows need.
pub const WINDOWS: &[Tool] = &[
    tool("/usr/lib/wine/wine64", "wine64", "Windows programs, services and registry"),
    tool("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64", "linking Windows programs"),
    tool("x86_64-w64-mingw32-windres", "binutils-mingw-w64-x86-64", "resources of Windows programs"),
];

/// Packages whose installation starts a service, and the service.
const SERVICES: &[(&str, &str)] = &[
    ("nginx-light", "nginx.service"),
    ("apache2", "apache2.service"),
    ("haproxy", "haproxy.service"),
    ("php-fpm", "php8.2-fpm.service"),
    ("postgresql", "postgresql.service"),
];

/// What the benchmarks need beside that.
pub const BENCHMARKS: &[Tool] = &[
    tool("cc", "gcc", "the peers of the rule engine"),
    tool("/usr/include/pcre2.h", "libpcre2-dev", "a peer of the rule engine"),
    tool("/usr/include/modsecurity/modsecurity.h", "libmodsecurity-dev", "a peer of the rule engine"),
    tool("/usr/lib/apache2/modules/mod_security2.so", "libapache2-mod-security2", "a peer of the gateway"),
];

/// What the package is built with.
pub const DIST: &[Tool] = &[
    tool("valgrind", "valgrind", "which functions a waiting agent runs"),
    tool("openssl", "openssl", "the certificate of the feed that it follows"),
];

/// Installs what is missing of `wanted`, where that is allowed; an error, which says what cannot be done (`to`), where
/// something still is.
pub fn require(wanted: &[Tool], to: &str) -> Result<()> {
    let there_is_none = missing(wanted);
    if there_is_none.is_empty() {
        return Ok(());
    }
    install(&there_is_none);
    let missing: Vec<&str> = missing(wanted).iter().map(|tool| tool.name).collect();
    ensure!(missing.is_empty(), "cannot {to} without {}", missing.join(", "));
    Ok(())
}

/// The tools of `wanted` that this machine does not have.
pub fn missing(wanted: &[Tool]) -> Vec<Tool> {
    wanted.iter().copied().filter(|tool| !present(tool.name)).collect()
}

/// Whether this machine has a program.
pub fn is_here(name: &str) -> bool {
    present(name)
}

fn present(name: &str) -> bool {
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    env::split_paths(&search_path()).any(|folder| folder.join(name).is_file())
}

/// `PATH` with the folders that hold nginx, which a user's own may lack.
pub fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin".into(), "/sbin".into()];
    env::join_paths(env::split_paths(&path).chain(system)).unwrap_or(path)
}

/// Installs the packages of `tools` where this process may; says what it does. What is missing
/// afterwards is for the caller to find out.
pub fn install(tools: &[Tool]) {
    let mut packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let Some(become_root) = root_prefix() else {
        println!("    not installed: neither root nor sudo without a password");
        println!("    as root: apt-get install -y --no-install-recommends {}", packages.join(" "));
        return;
    };
    if !present("apt-get") {
        println!("    not installed: no apt-get here; Debian calls them {}", packages.join(" "));
        return;
    }
    let services = SERVICES.iter().filter(|(package, _)| packages.contains(package));
    let keep_quiet: Vec<KeepFromStarting> =
        services.map(|(_, unit)| KeepFromStarting::new(become_root, unit)).collect();
    let apt = |arguments: &[&str]| {
        let mut command = as_root(become_root, "env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]);
        command.args(arguments);
        if let Err(error) = cargo::succeed(&mut command) {
            println!("    {error:#}");
        }
    };
    // An index that is only partly fresh may still hold the packages: go on after a failure.
    apt(&["update"]);
    apt(&[&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat());
    drop(keep_quiet);
}

/// The words before a command that make it root's, or `None`.
fn root_prefix() -> Option<&'static [&'static str]> {
    if nix::unistd::geteuid().is_root() {
        return Some(&[]);
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    sudo.is_ok_and(|status| status.success()).then_some(&["sudo", "-n"])
}

fn as_root(prefix: &[&str], program: &str) -> Command {
    let mut words = prefix.iter().copied().chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words).stdin(Stdio::null());
    command
}

/// Debian starts a service when its package is installed, and the tests want the program only. A
/// runtime mask (gone with the next boot, and with this value) keeps systemd from starting it;
/// without systemd the package starts nothing.
struct KeepFromStarting {
    become_root: &'static [&'static str],
    unit: &'static str,
    masked: bool,
}

impl KeepFromStarting {
    fn new(become_root: &'static [&'static str], unit: &'static str) -> Self {
        let masked = Path::new("/run/systemd/system").is_dir()
            && as_root(become_root, "systemctl")
                .args(["mask", "--runtime", unit])
                .status()
                .is_ok_and(|status| status.success());
        Self { become_root, unit, masked }
    }
}

impl Drop for KeepFromStarting {
    fn drop(&mut self) {
        if !self.masked {
            return;
        }
        let unmasked =
            as_root(self.become_root, "systemctl").args(["unmask", "--runtime", self.unit]).status();
        let unit = self.unit;
        match unmasked {
            Ok(status) if status.success() => {
                println!("    {unit} is installed and not started; Debian enables it for the next boot:");
                println!("    `systemctl disable {unit}` keeps it off");
            }
            _ => println!("    {unit} is still masked: `systemctl unmask --runtime {unit}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_there_is_missing() {
        let shell = tool("sh", "dash", "");
        let nothing = tool("no-such-program-here", "none", "");
        let no_file = tool("/no/such/file", "none", "");
        assert_eq!(missing(&[shell, nothing, no_file]), [nothing, no_file]);
    }

    #[test]
    fn sudo_comes_before_the_program() {
        assert_eq!(cargo::words(as_root(&["sudo", "-n"], "env").arg("A=b")), "sudo -n env A=b");
        assert_eq!(cargo::words(as_root(&[], "env").arg("A=b")), "env A=b");
    }
}
