//! A real package, updated by the real dpkg under a process that runs its program.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use stopgap_agent::facts::{Place, look, of_system};
use stopgap_agent::home::Home;
use stopgap_core::applicability::{Applicability, judge};
use stopgap_core::facts::Asked;
use stopgap_drivers::Machine;
use stopgap_feed::document::Mitigation;

/// Ends with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A system with a package database of its own, whose packages lie below it.
struct System {
    folder: tempfile::TempDir,
    home: Home,
}

impl System {
    fn new() -> System {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "data", "log"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        std::os::unix::fs::symlink("/proc", root.join("proc")).unwrap();
        let home = Home::open(&Machine, &root.join("data")).unwrap();
        System { folder, home }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn program(&self) -> PathBuf {
        self.root().join("opt/portal")
    }

    /// Builds the package and lets dpkg install it. Nothing: there is no dpkg.
    fn install(&self, version: &str) -> Option<()> {
        let tree = tempfile::tempdir().unwrap();
        let program = tree.path().join(self.program().strip_prefix("/").unwrap());
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/sleep", &program).unwrap();
        fs::create_dir(tree.path().join("DEBIAN")).unwrap();
        let control = format!(
            "Package: portal-core\nSource: portal\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.org>\n\
             Description: x\n"
        );
        fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
        let package = self.root().join("portal.deb");
        let built = Command::new("dpkg-deb").arg("--build").arg(tree.path()).arg(&package).output().ok()?;
        assert!(built.status.success(), "{built:?}");
        let folder = |name: &str, of: &str| format!("--{name}={}", self.root().join(of).display());
        let installed = Command::new("dpkg")
            .args([folder("admindir", "var/lib/dpkg"), folder("log", "log/dpkg.log")])
            .args(["--force-not-root", "--force-script-chrootless", "--install"])
            .arg(&package)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        assert!(installed.status.success(), "{installed:?}");
        Some(())
    }

    fn run(&self) -> Process {
        Process(Command::new(self.program()).arg("300").spawn().unwrap())
    }

    /// What a cycle would judge, with the memory in `home`.
    fn judged(&self, home: &Home) -> Applicability {
        let mitigation = Mitigation::from_octets(
            "<Config id=\"M1\"><Applicability><Product name=\"portal\" versions=\"dpkg\"><Detect kind=\"dpkg\" \
             package=\"portal\"/><Range below=\"2.0-1\"/></Product></Applicability><ActionList><Action \
             type=\"DoNothing\" scope=\"Server\"/></ActionList></Config>",
        )
        .unwrap();
        assert_eq!(mitigation.unsupported, [""; 0]);
        let mut asked = Asked::default();
        asked.by(&mitigation);
        let mut facts = of_system(&Machine, self.root());
        let place = Place { root: self.root(), host: &Machine, home, write: true };
        let (looked, wrong) = look(&place, &facts, &asked);
        assert!(wrong.is_none(), "{wrong:?}");
        facts.set_looked(Arc::new(looked));
        judge(mitigation.applicability.as_ref(), &facts)
    }
}

#[test]
fn an_update_counts_once_nothing_runs_the_files_from_before() {
    const TEST: &str = "an_update_counts_once_nothing_runs_the_files_from_before";
    let system = System::new();
    let Some(()) = system.install("1.0-1") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no dpkg-deb");
        println!("skipped (no dpkg-deb): {TEST}");
        return;
    };
    let before = system.run();
    let holds = |why: String| Applicability::Holds(why);
    assert_eq!(system.judged(&system.home), holds("portal 1.0-1 is below 2.0-1".into()));

    system.install("2.0-1").unwrap();
    let after = system.run();
    let pid = before.0.id();
    let still = format!(
        "portal 2.0-1 is in none of the affected ranges, but process {pid} (portal) still runs the files from \
         before, 1.0-1, which is below 2.0-1: restart it"
    );
    assert_eq!(system.judged(&system.home), holds(still.clone()));
    // Judged again, without looking at every process.
    assert_eq!(system.judged(&system.home), holds(still));
    // Somebody who was not here before the update cannot know of which version it is.
    let data = system.root().join("data2");
    let stranger = Home::open(&Machine, &data).unwrap();
    let Applicability::Unknown(why) = system.judged(&stranger) else { panic!("nobody saw it") };
    assert!(why.contains(&format!("process {pid} (portal)")), "{why}");

    drop(before);
    let fixed = Applicability::DoesNotHold("portal 2.0-1 is in none of the affected ranges".into());
    assert_eq!(system.judged(&system.home), fixed);
    assert_eq!(system.judged(&stranger), fixed);
    // An update after the fix concerns nobody.
    system.install("2.0-2").unwrap();
    let shown = "portal 2.0-2 is in none of the affected ranges";
    assert_eq!(system.judged(&system.home), Applicability::DoesNotHold(shown.into()));
    drop(after);
}
