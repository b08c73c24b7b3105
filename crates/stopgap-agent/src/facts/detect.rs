//! `Detect`: the version of a product that only a mitigation knows of, from a place that it names.
//!
//! A feed must not turn the agent, which may read everything, into somebody's eyes. So a file counts only where
//! every account of this server could read it: itself readable and every folder above it open to all. Links are
//! followed, since `current -> 4.2` is how much software is installed; what they lead to is judged by the same
//! rule, and a link adds nothing to what its maker could read anyway. What comes out is a version or nothing: it
//! begins with a digit, has the characters of a version, and is at most 64 long. Nothing is run.

mod file;
mod pe;
#[cfg(windows)]
mod registry;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::facts::Found;
use stopgap_feed::document::Detect;

/// Looks at the place that `detect` names, below `root`.
pub(super) fn look(root: &Path, detect: &Detect) -> Found {
    let found = match detect {
        Detect::File { path, pattern } => {
            on_this_system(root, path).and_then(|path| file::read(&path, pattern))
        }
        Detect::Pe { path } => on_this_system(root, path).and_then(|path| pe::read(&path)),
        #[cfg(windows)]
        Detect::Registry { key, value } => registry::read(key, value),
        #[cfg(not(windows))]
        Detect::Registry { .. } => Err(Found::Absent("there is no registry on this system".into())),
        // The package database answers these.
        Detect::Dpkg { package } | Detect::Rpm { package } => {
            Err(Found::Unknown(format!("package {package} is not looked for in a file")))
        }
    };
    found.map_or_else(|not| not, Found::Version)
}

/// The version of a program that the agent itself knows the place of.
#[cfg(windows)]
pub(super) fn file_version(path: &Path) -> Result<String, String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    pe::read(&Opened { file, path: path.to_owned(), size }).map_err(|why| match why {
        Found::Unreadable(why) | Found::Unknown(why) | Found::Absent(why) | Found::Unsupported(why) => why,
        Found::Version(version) => version,
    })
}

/// The path of a feed as one of this system; a path of the other kind names nothing here.
fn on_this_system(root: &Path, path: &str) -> Result<Opened, Found> {
    let below = if cfg!(windows) { None } else { path.strip_prefix('/') };
    let windows = cfg!(windows) && !path.starts_with('/');
    match (below, windows) {
        (Some(below), _) => open(root, &root.join(below)),
        (None, true) => open(root, Path::new(path)),
        (None, false) => Err(Found::Absent(format!("{path} is no path of this system"))),
    }
}

/// A regular file that everybody may read.
struct Opened {
    file: File,
    /// As the feed names it.
    path: PathBuf,
    size: u64,
}

/// Folders whose files are none of a product, and where looking is not free of effects.
#[cfg(unix)]
const NOT_FILES: [&str; 3] = ["proc", "sys", "dev"];

fn open(root: &Path, path: &Path) -> Result<Opened, Found> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Found::Absent(format!("there is no {shown}"))
        }
        _ => Found::Unknown(format!("{shown}: {error}")),
    };
    // Every link is resolved here; what is opened below is no link any more.
    let real = fs::canonicalize(path).map_err(failed)?;
    open_to_all(root, &real).map_err(|why| Found::Unknown(format!("{shown} {why}")))?;
    let file = open_there(&real).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Found::Unreadable(format!("{shown} is no regular file")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o004 == 0 {
            return Err(Found::Unreadable(format!("{shown} {NOT_OPEN}")));
        }
    }
    Ok(Opened { file, path: path.to_owned(), size: metadata.len() })
}

/// Opens what stands at a path without links, and nothing that somebody put a link to in between: whoever owns a
/// folder on the way may have replaced it since it was looked at.
fn open_there(real: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe would otherwise wait for its writer, before it is seen that it is one.
        options.custom_flags((nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW).bits());
    }
    let file = options.open(real)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if opened != real {
            let why = format!("{} was opened: somebody replaces folders on the way", opened.display());
            return Err(io::Error::other(why));
        }
    }
    Ok(file)
}

#[cfg(unix)]
const NOT_OPEN: &str = "is not readable by everybody; state the version under [facts] instead";

/// Whether every folder between `root` and a file lets everybody through.
#[cfg(unix)]
fn open_to_all(root: &Path, real: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let root = fs::canonicalize(root).map_err(|error| error.to_string())?;
    let below =
        real.strip_prefix(&root).map_err(|_| "leads out of the system that is looked at".to_owned())?;
    let first = below.components().next().map(|part| part.as_os_str());
    if NOT_FILES.iter().any(|name| first == Some(name.as_ref())) {
        return Err("leads to no file of a product".to_owned());
    }
    for folder in real.ancestors().skip(1).take_while(|folder| *folder != root) {
        let metadata = fs::metadata(folder).map_err(|error| error.to_string())?;
        if metadata.permissions().mode() & 0o001 == 0 {
            return Err(NOT_OPEN.to_owned());
        }
    }
    Ok(())
}

/// The agent of such a system reads with its own rights alone.
#[cfg(not(unix))]
fn open_to_all(_: &Path, _: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
