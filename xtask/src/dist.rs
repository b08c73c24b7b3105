//! `cargo xtask dist`: the Debian package. The tree is laid out here and packed by `dpkg-deb`, which every
//! Debian has; `cargo-deb` would have to be compiled first, and knows no more than what is below.
//!
//! `--windows`: the zip for Windows instead.
//!
//! Built twice from one commit, by one order of functions, the package is the same to the byte: times are the
//! commit's, owners root.

mod control;
mod order;
mod tree;
mod windows;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo::{self, cargo, root, succeed, target_directory};
use crate::tools;
use crate::windows::TARGET;
use tree::Tree;

/// The command's options.
#[derive(clap::Args)]
pub struct Options {
    /// Build the zip for Windows instead of the Debian package
    #[arg(long)]
    windows: bool,
    /// Pack this program instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write the package into this folder
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Put functions in this order, which an earlier build left beside its program, instead of finding it out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["windows", "binary"])]
    order: Option<PathBuf>,
    /// For tests: neither compressed nor judged
    #[arg(long)]
    draft: bool,
}

/// Debian's revision of a version: packaging that changes without the program counts it up.
const REVISION: u32 = 1;

/// Builds the package and says where it is.
pub fn run(options: &Options) -> Result<bool> {
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)?,
        None if options.windows => for_windows()?,
        None => order::build(options.order.as_deref())?,
    };
    let out = root().join(&options.out);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    if options.windows {
        println!("{}", windows::zip(&binary, &out, epoch()?.trim())?.display());
        return Ok(true);
    }
    let package = package(&binary, &out, if options.draft { "-Znone" } else { "-Zxz" })?;
    println!("{}", package.display());
    if options.draft { Ok(true) } else { lint(&package) }
}

fn for_windows() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--package", "stopgap"]);
    // The hub is no part of what a Windows server gets.
    build.args(["--target", TARGET, "--no-default-features", "--features", "demo"]);
    succeed(build.args(["--config", "profile.dist.strip=true"]))?;
    Ok(target_directory()?.join(TARGET).join("dist/stopgap.exe"))
}

/// The program as it is shipped, built.
pub fn program() -> Result<PathBuf> {
    order::build(None)
}

fn package(binary: &Path, out: &Path, compression: &str) -> Result<PathBuf> {
    let version = format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"));
    let architecture = cargo::output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let name = format!("stopgap_{version}_{architecture}");
    let mut tree = Tree::new(out.join(&name))?;
    let program = std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    lay_out(&mut tree, binary, &program, &version)?;

    let installed = tree.kibibytes()?;
    let md5sums = tree.md5sums()?;
    let glibc = control::glibc(&program).context("the program names no version of glibc")?;
    tree.file("DEBIAN/control", control::control(&version, &architecture, installed, &glibc).as_bytes())?;
    tree.file("DEBIAN/conffiles", b"/etc/stopgap/gateway.env\n/etc/stopgap/stopgap.toml\n")?;
    tree.file("DEBIAN/md5sums", md5sums.as_bytes())?;
    for script in ["postinst", "prerm", "postrm"] {
        tree.program(&format!("DEBIAN/{script}"), &packaging(&format!("debian/{script}"))?)?;
    }
    let deb = out.join(format!("{name}.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", compression, "--build"]).arg(&tree.folder).arg(&deb);
    succeed(pack.env("SOURCE_DATE_EPOCH", &epoch()?).stdout(Stdio::null()))?;
    tree.remove()?;
    Ok(deb)
}

fn lay_out(tree: &mut Tree, binary: &Path, program: &[u8], version: &str) -> Result<()> {
    tree.program("usr/bin/stopgap", program)?;
    for unit in ["stopgap.service", "stopgap-gateway.service"] {
        tree.file(&format!("usr/lib/systemd/system/{unit}"), &packaging(unit)?)?;
    }
    for file in ["stopgap.toml", "gateway.env"] {
        tree.file(&format!("etc/stopgap/{file}"), &packaging(file)?)?;
    }
    for folder in ["feeds.d", "targets.d", "facts.d"] {
        tree.folder(&format!("etc/stopgap/{folder}"))?;
    }
    generated(tree, binary)?;

    let doc = |name: &str| format!("usr/share/doc/stopgap/{name}");
    for page in ["installing", "command-line", "metrics", "nginx", "apache", "haproxy", "gateway"] {
        tree.file(&doc(&format!("{page}.md")), &read(&root().join(format!("docs/{page}.md")))?)?;
    }
    tree.file(&doc("examples/ansible.yml"), &packaging("ansible/stopgap.yml")?)?;
    tree.file(&doc("copyright"), &packaging("debian/copyright")?)?;
    tree.compressed(&doc("changelog.gz"), &read(&root().join("CHANGELOG.md"))?)?;
    let date = cargo::output(Command::new("date").args(["-u", "-R", "-d", &format!("@{}", epoch()?)]))?;
    let entry = control::changelog(version, date.trim());
    tree.compressed(&doc("changelog.Debian.gz"), entry.as_bytes())?;
    Ok(())
}

/// Manual pages and completions, from the program's own definitions.
fn generated(tree: &mut Tree, binary: &Path) -> Result<()> {
    let folder = tree.scratch()?;
    succeed(Command::new(binary).arg("generate").arg(&folder).stdin(Stdio::null()))?;
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder.join("man1"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    pages.sort();
    for page in pages {
        let name = page.file_name().and_then(|name| name.to_str()).context("a page without a name")?;
        tree.compressed(&format!("usr/share/man/man1/{name}.gz"), &read(&page)?)?;
    }
    for (from, to) in [
        ("stopgap.bash", "usr/share/bash-completion/completions/stopgap"),
        ("_stopgap", "usr/share/zsh/vendor-completions/_stopgap"),
        ("stopgap.fish", "usr/share/fish/vendor_completions.d/stopgap.fish"),
    ] {
        tree.file(to, &read(&folder.join("completions").join(from))?)?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// The time of the commit, or of now where there is no repository, in Unix seconds.
fn epoch() -> Result<String> {
    if let Ok(set) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(set);
    }
    let mut git = Command::new("git");
    git.current_dir(root()).args(["log", "-1", "--format=%ct"]);
    match cargo::output(&mut git) {
        Ok(time) => Ok(time.trim().to_owned()),
        Err(_) => Ok(cargo::output(Command::new("date").arg("+%s"))?.trim().to_owned()),
    }
}

/// Debian's own judge of packages, where it is installed. What it finds fails.
fn lint(package: &Path) -> Result<bool> {
    if !tools::is_here("lintian") {
        println!("not judged: lintian is not installed");
        return Ok(true);
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0"]);
    // The rule of an archive that this package is not uploaded to.
    lintian.args(["--suppress-tags", "initial-upload-closes-no-bugs"]).arg(package);
    Ok(lintian.stdin(Stdio::null()).status().context("cannot start lintian")?.success())
}

fn packaging(name: &str) -> Result<Vec<u8>> {
    read(&root().join("packaging").join(name))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if !path.is_file() {
        bail!("no file {}", path.display());
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
