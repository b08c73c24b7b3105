//! The real machine, and its files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use stopgap_core::observed::Listener;

use super::{Bounds, Command, Host, Kind, LIST_MAX, Output, process, services, systemd, wire};

/// Opened without waiting: whoever opens a pipe waits for its writer otherwise, for ever.
#[cfg(unix)]
fn open_to_read(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let file = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)?;
    // Of what was opened: the name may mean something else by now. A device, such as /dev/null, has octets of its own.
    match file.metadata()?.file_type().is_fifo() {
        true => Err(io::Error::other("it is a pipe")),
        false => Ok(file),
    }
}

#[cfg(not(unix))]
fn open_to_read(path: &Path) -> io::Result<File> {
    match File::open(path) {
        #[cfg(windows)]
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(super::pointer::follow(path)),
        opened => opened,
    }
}

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The kernel fills what a read has room for: with it there from the start, reads are few.
const HEAD: usize = 64 << 10;

impl Host for Machine {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = open_to_read(path)?;
        // The length that the file system tells is not asked: it is 0 for /proc, and may change.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} octets")));
        }
        Ok(bytes)
    }

    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(limit.min(HEAD));
        open_to_read(path)?.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            // A file where the path wants a folder: nothing can stand below it.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        #[cfg(windows)]
        if kind.is_file() && super::pointer::target(path)?.is_some() {
            return Ok(Some(Kind::Link));
        }
        Ok(Some(match kind {
            k if k.is_symlink() => Kind::Link,
            k if k.is_dir() => Kind::Folder,
            k if k.is_file() => Kind::File,
            _ => Kind::Other,
        }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        #[cfg(windows)]
        if let Some(to) = super::pointer::target(path)? {
            return Ok(to);
        }
        fs::read_link(path)
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        let metadata = fs::metadata(path)?;
        #[cfg(unix)]
        return Ok(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777);
        #[cfg(not(unix))]
        return Ok(if metadata.permissions().readonly() { 0o444 } else { 0o644 });
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            if names.len() == LIST_MAX {
                return Err(io::Error::other(format!("more than {LIST_MAX} names")));
            }
            // A name that is not UTF-8 is none of ours; its printable form shows that it is there.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, folder: &Path, mode: u32) -> io::Result<()> {
        let missing: Vec<&Path> =
            folder.ancestors().take_while(|path| matches!(fs::exists(path), Ok(false))).collect();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
        builder.create(folder)?;
        missing.into_iter().try_for_each(|made| set_mode(|to| fs::set_permissions(made, to), mode))
    }

    fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        let mut file = open(options, path, mode)?;
        set_mode(|permissions| file.set_permissions(permissions), mode)?;
        write_through(&mut file, bytes)
    }

    fn write_like(&self, path: &Path, bytes: &[u8], like: &Path) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        // Nobody else's until it has its owner, who may be one of fewer rights.
        let mut file = open(options, path, 0o600)?;
        // What is on the disk under a name has its owner and its permissions, too; on Windows from before the first octet,
        // since the folder lets in whom it lets in.
        #[cfg(windows)]
        stopgap_windows::protect_like(path, like)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        own_like(&file, &fs::metadata(like)?)?;
        file.sync_all()
    }

    fn append(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut options = File::options();
        options.append(true).create(true);
        write_through(&mut open(options, path, mode)?, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        rename(from, to)
    }

    fn exchange_names(&self, a: &Path, b: &Path) -> io::Result<()> {
        exchange_names(a, b)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn remove_tree(&self, ours: &Path, path: &Path) -> io::Result<()> {
        require_below(ours, path)?;
        fs::remove_dir_all(path)
    }

    fn symlink(&self, to: &Path, link: &Path) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::symlink(to, link);
        #[cfg(windows)]
        return self.write_new(link, &super::pointer::text(to)?, 0);
        #[cfg(not(any(unix, windows)))]
        return Err(unsupported(&format!("a link {} to {}", link.display(), to.display())));
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened as a file, and its names are written through anyway.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        process::run(command)
    }

    fn exchange(
        &self,
        listener: &Listener,
        request: &[u8],
        bounds: Bounds,
        complete: fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>> {
        wire::exchange(listener, request, bounds, complete)
    }

    fn control(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        #[cfg(unix)]
        return super::control::ask(socket, line, bounds);
        #[cfg(windows)]
        return super::pipe::ask(socket, line, bounds, true);
        #[cfg(not(any(unix, windows)))]
        return Err(unsupported(&format!("the local socket {} ({line}, {bounds:?})", socket.display())));
    }

    fn converse(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        #[cfg(unix)]
        return super::control::ask_all(socket, line, bounds);
        #[cfg(windows)]
        return super::pipe::ask(socket, line, bounds, false);
        #[cfg(not(any(unix, windows)))]
        return Err(unsupported(&format!("the local socket {} ({line}, {bounds:?})", socket.display())));
    }

    fn systemd(&self, ask: &systemd::Ask<'_>, time: Duration) -> io::Result<Vec<systemd::Properties>> {
        systemd::ask(Path::new(systemd::SYSTEM_BUS), ask, time)
    }

    fn services(&self, ask: &services::Ask<'_>, time: Duration) -> io::Result<Vec<services::Service>> {
        services::ask(ask, time)
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(not(windows))]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// A file that somebody else reads in this moment, a virus scanner or a backup, is not replaced: that passes.
#[cfg(windows)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    /// ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION.
    const BUSY: [i32; 2] = [5, 32];
    let busy = |error: &io::Error| error.raw_os_error().is_some_and(|code| BUSY.contains(&code));
    for _ in 0..40 {
        match fs::rename(from, to) {
            Err(error) if busy(&error) => std::thread::sleep(Duration::from_millis(25)),
            renamed => return renamed,
        }
    }
    fs::rename(from, to)
}

/// `path` lies strictly below `ours`, with no `..` on the way.
pub(super) fn require_below(ours: &Path, path: &Path) -> io::Result<()> {
    let below = path.strip_prefix(ours).is_ok_and(|rest| {
        rest.components().next().is_some() && rest.components().all(|c| matches!(c, Component::Normal(_)))
    });
    if below && ours.is_absolute() && ours.parent().is_some() {
        return Ok(());
    }
    let message = format!("{} is not below {}: not removed", path.display(), ours.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn open(options: fs::OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    #[cfg(unix)]
    let options = {
        let mut options = options;
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        options
    };
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// Gives a file the owner, the group and the permission bits of another.
#[cfg(unix)]
fn own_like(file: &File, like: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    // Last: octets and another owner take away the bits that act in the owner's name.
    file.set_permissions(like.permissions())
}

fn write_through(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// What is made has its mode whatever the umask of the caller: a server's workers and the gateway
/// must read what an administrator's shell wrote.
fn set_mode(set: impl FnOnce(fs::Permissions) -> io::Result<()>, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    return set(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    {
        let _ = (set, mode);
        Ok(())
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange_names(a: &Path, b: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).map_err(|errno| match errno {
        // EINVAL: this file system has no exchange.
        nix::Error::EINVAL | nix::Error::ENOSYS => io::Error::from(io::ErrorKind::Unsupported),
        other => other.into(),
    })
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange_names(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(not(any(unix, windows)))]
fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("not on this system: {what}"))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_like_another_has_its_owner_and_mode() {
        use std::os::unix::fs::{MetadataExt, chown};
        let folder = tempfile::tempdir().unwrap();
        let (like, new) = (folder.path().join("like"), folder.path().join("new"));
        Machine.write_new(&like, b"old", 0o644).unwrap();
        // Whoever is not root has no other owner to give.
        let _ = chown(&like, Some(1), Some(2));
        fs::set_permissions(&like, std::os::unix::fs::PermissionsExt::from_mode(0o6751)).unwrap();
        Machine.write_like(&new, b"new", &like).unwrap();
        let told = |path: &Path| fs::metadata(path).map(|m| (m.uid(), m.gid(), m.mode() & 0o7777)).unwrap();
        assert_eq!((told(&new), told(&new).2), (told(&like), 0o6751));
        assert_eq!(fs::read(&new).unwrap(), b"new");
        let again = Machine.write_like(&new, b"x", &like).unwrap_err().kind();
        assert_eq!(again, io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_is_made_has_its_mode_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let (made, file) = (folder.path().join("a/b"), folder.path().join("a/b/file"));
        // A group's write bit is taken away by every umask in use.
        Machine.create_dir_all(&made, 0o775).unwrap();
        Machine.create_dir_all(&made, 0o700).unwrap();
        Machine.write_new(&file, b"x", 0o664).unwrap();
        let modes = [&folder.path().join("a"), &made, &file].map(|path| Machine.mode(path).unwrap());
        assert_eq!(modes, [0o775, 0o775, 0o664]);
    }
}

#[cfg(test)]
#[cfg(windows)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_like_another_has_its_access_control_list() {
        let folder = tempfile::tempdir().unwrap();
        let [like, new, plain] = ["like", "new", "plain"].map(|name| folder.path().join(name));
        Machine.write_new(&like, b"old", 0o644).unwrap();
        stopgap_windows::protect(&like, "D:P(A;;FA;;;SY)(A;;FA;;;BA)").unwrap();
        Machine.write_new(&plain, b"new", 0o644).unwrap();
        let told = |path: &Path| stopgap_windows::permissions(path).unwrap();
        assert_ne!(told(&plain), told(&like), "a new file has what the folder gives it");
        Machine.write_like(&new, b"new", &like).unwrap();
        assert_eq!(told(&new), told(&like));
        assert_eq!(fs::read(&new).unwrap(), b"new");
        fs::rename(&new, &like).unwrap();
        assert_ne!(told(&plain), told(&like), "it keeps them under its name");
    }
}
