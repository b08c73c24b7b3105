//! The tree that a package is packed from: every file with the mode that it will have, whatever the umask.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// What was laid out so far.
pub struct Tree {
    /// Its root.
    pub folder: PathBuf,
    /// Files that an installed package has, by their path below the root.
    files: Vec<String>,
}

impl Tree {
    /// An empty tree; what an earlier run left is removed.
    pub fn new(folder: PathBuf) -> Result<Tree> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        make(&folder)?;
        Ok(Tree { folder, files: Vec::new() })
    }

    /// An empty folder.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.folders(Path::new(path))
    }

    /// A file that everybody may read.
    pub fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes, 0o644)
    }

    /// A file that everybody may run.
    pub fn program(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes, 0o755)
    }

    /// A compressed file, the same from the same octets.
    pub fn compressed(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut gzip = Command::new("gzip");
        gzip.args(["-9", "-n"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = gzip.spawn().context("cannot start gzip")?;
        let mut input = child.stdin.take().context("gzip has no input")?;
        let done = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(bytes));
            child.wait_with_output()
        })?;
        if !done.status.success() {
            bail!("gzip ended with {}", done.status);
        }
        self.write(path, &done.stdout, 0o644)
    }

    /// A folder beside the tree for what is made on the way.
    pub fn scratch(&self) -> Result<PathBuf> {
        let folder = self.folder.with_extension("scratch");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The size once installed, as `Installed-Size` counts it (Debian policy, 5.6.20).
    pub fn kibibytes(&self) -> Result<u64> {
        let mut sum = 0;
        for file in &self.files {
            sum += fs::metadata(self.folder.join(file))?.size().div_ceil(1024);
        }
        Ok(sum)
    }

    /// The digests that `dpkg --verify` compares.
    pub fn md5sums(&self) -> Result<String> {
        let files = self.files.iter().filter(|file| !file.starts_with("etc/"));
        cargo::output(Command::new("md5sum").current_dir(&self.folder).args(files))
    }

    /// Removes it.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    fn write(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let below = Path::new(path);
        self.folders(below.parent().unwrap_or(Path::new("")))?;
        let to = self.folder.join(below);
        fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        if !path.starts_with("DEBIAN/") {
            self.files.push(path.to_owned());
        }
        Ok(())
    }

    fn folders(&self, path: &Path) -> Result<()> {
        let mut folder = self.folder.clone();
        for part in path.components() {
            folder.push(part);
            if !folder.is_dir() {
                make(&folder)?;
            }
        }
        Ok(())
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
