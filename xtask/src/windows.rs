//! `cargo xtask test --windows`: the program and the tests of what Windows has of its own, built here for
//! `x86_64-pc-windows-gnu` and run under Wine, whose service control manager, registry and file system are real
//! enough to test against. docs/windows.md lists what Wine cannot prove.
//!
//! Wine's world is a folder of this build, `wine` in the target folder, made anew each time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo, output, succeed, target_directory};
use crate::tools;

/// What is built for.
pub const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where Debian has it: no command of the search path starts the 64-bit loader.
const WINE: &str = "/usr/lib/wine/wine64";
const WINESERVER: &str = "/usr/lib/wine/wineserver64";

/// What is tested: the crates that have a half of their own for Windows, by their unit tests, and the program. The pure
/// crates are the same everywhere, and are tested where they are built.
const TESTS: &[&str] = &[
    "--package=stopgap-agent",
    "--package=stopgap-drivers",
    "--package=stopgap-gateway",
    "--package=stopgap",
    // The hub is no part of what a Windows server gets.
    "--no-default-features",
    "--features=stopgap/demo",
    "--lib",
    "--test=windows",
    "--test=winservice",
];

/// Ours, which change most and run briefly here: unoptimized they take a fifth of the time to build. What they build on
/// is optimized as everywhere.
const UNOPTIMIZED: &[&str] = &[
    "stopgap",
    "stopgap-agent",
    "stopgap-drivers",
    "stopgap-gateway",
    "stopgap-publish",
    "stopgap-testkit",
    "stopgap-windows",
];

/// A Windows of this build's own.
pub struct World {
    prefix: PathBuf,
}

impl World {
    /// Makes it anew.
    pub fn new() -> Result<World> {
        let world = World { prefix: target_directory()?.join("wine") };
        if world.prefix.exists() {
            // Of a run that was cut short.
            world.end();
            std::fs::remove_dir_all(&world.prefix)
                .with_context(|| format!("cannot remove {}", world.prefix.display()))?;
        }
        std::fs::create_dir_all(&world.prefix)?;
        let mut boot = world.command(WINE);
        succeed(boot.args(["wineboot", "--init"]).stdout(Stdio::null()).stderr(Stdio::null()))?;
        world.add_random_numbers()?;
        world.add_appcmd()?;
        Ok(world)
    }

    /// `bcryptprimitives.dll`, which every program of Rust's imports and Wine 8 does not have. Windows has its own:
    /// this one is never shipped.
    fn add_random_numbers(&self) -> Result<()> {
        const SOURCE: &str = "#include <windows.h>\nBOOLEAN NTAPI SystemFunction036(PVOID, ULONG);\n\
            __declspec(dllexport) BOOL ProcessPrng(PBYTE to, SIZE_T n) { return SystemFunction036(to, (ULONG)n); }\n";
        let system = self.prefix.join("drive_c/windows/system32");
        let library = system.join("bcryptprimitives.dll");
        if library.exists() {
            return Ok(());
        }
        let source = self.prefix.join("bcryptprimitives.c");
        std::fs::write(&source, SOURCE)?;
        let mut compile = Command::new("x86_64-w64-mingw32-gcc");
        succeed(compile.arg("-shared").arg("-o").arg(&library).arg(&source).arg("-ladvapi32"))
    }

    /// The stand-in for IIS's own tool, where the tests take it from.
    fn add_appcmd(&self) -> Result<()> {
        let folder = self.prefix.join("drive_c/stopgap-test");
        std::fs::create_dir_all(&folder)?;
        let mut compile = Command::new("x86_64-w64-mingw32-gcc");
        succeed(
            compile.arg("-o").arg(folder.join("appcmd.exe")).arg(cargo::root().join("e2e/windows/appcmd.c")),
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.environment(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// What has a command, and what it starts, live in this world.
    pub fn environment(&self, command: &mut Command) {
        let runner = format!("CARGO_TARGET_{}_RUNNER", TARGET.to_uppercase().replace('-', "_"));
        command.env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all").env(runner, WINE);
        // Neither of its helpers for other kinds of programs: they would be downloaded.
        command.env("WINEDLLOVERRIDES", "mscoree=;mshtml=").env_remove("DISPLAY");
    }

    /// Ends every process of this world, and of no other.
    fn end(&self) {
        let _ = self.command(WINESERVER).arg("--kill").stderr(Stdio::null()).status();
        let _ = self.command(WINESERVER).arg("--wait").stderr(Stdio::null()).status();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}

/// `cargo test` of what is tested in `world`.
pub fn tests(world: &World) -> Command {
    let mut command = cargo();
    command.args(["test", "--release", "--no-fail-fast", "--target", TARGET]).args(TESTS);
    for package in UNOPTIMIZED {
        command.arg("--config").arg(format!("profile.release.package.{package}.opt-level=0"));
    }
    world.environment(&mut command);
    command
}

/// Whether Rust's library for the target is here; tries to have rustup fetch it where it is not.
pub fn has_library(install: bool) -> Result<bool> {
    if library()?.is_dir() {
        return Ok(true);
    }
    if install && tools::is_here("rustup") {
        // Without a network it fails, and says so itself.
        let _ = succeed(Command::new("rustup").current_dir(cargo::root()).args(["target", "add", TARGET]));
    }
    Ok(library()?.is_dir())
}

fn library() -> Result<PathBuf> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let said =
        output(rustc.current_dir(cargo::root()).args(["--print", "target-libdir", "--target", TARGET]))?;
    let folder = said.trim();
    if folder.is_empty() {
        bail!("rustc names no folder for {TARGET}");
    }
    Ok(Path::new(folder).to_owned())
}
