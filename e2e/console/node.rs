//! Running a script of this folder: where its packages are, and what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SCRIPTS: &[&str] = &["package.json", "package-lock.json", "harness.mjs", "pages.mjs", "live.mjs"];

/// A command that runs a script against the console at `url`; `None`: this machine cannot, which was said. The
/// packages are put beside a copy of the scripts below `target`, once for each lock file.
pub fn script(name: &str, url: &str, target: &Path, test: &str) -> Option<Command> {
    let here = |program: &str| {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    for program in ["chromium", "node", "npm"] {
        if !here(program) {
            assert!(std::env::var_os("CI").is_none(), "{program} is missing: Debian's package {program}");
            println!("skipped (no {program}): {test}");
            return None;
        }
    }
    let folder = installed(target);
    let mut command = Command::new("node");
    command.arg(folder.join(name)).env("STOPGAP_CONSOLE", url).current_dir(folder);
    Some(command)
}

fn installed(target: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/console");
    let folder = target.join("console");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = folder.join("package-lock.json");
    let kept = std::fs::read(&lock).ok();
    for script in SCRIPTS {
        std::fs::copy(source.join(script), folder.join(script)).unwrap();
    }
    if kept != std::fs::read(&lock).ok() || !folder.join("node_modules/axe-core").exists() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        let done = npm.output().unwrap();
        assert!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
    }
    folder
}
