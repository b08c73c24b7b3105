//! A private mount namespace: one program sees a staged folder where the live one is; nobody else
//! sees a difference, and nothing is left when it ends.

use std::io;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::Bind;

/// Runs `work` in a thread that has mounts of its own; what it starts inherits them. The namespace
/// ends with the thread and the programs that it started.
pub(super) fn inside<T: Send>(bind: &Bind, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(bind).map_err(forbidden)?;
                work()
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread of a private mount namespace ended early")))
    })
}

fn enter(bind: &Bind) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Without this, a mount made here would spread to the whole system.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some(&bind.staged), &bind.live, NONE, MsFlags::MS_BIND, NONE)
}

/// Containers forbid it in several ways; to the caller they are one.
fn forbidden(errno: nix::Error) -> io::Error {
    match errno {
        nix::Error::EPERM | nix::Error::EACCES | nix::Error::ENOSYS | nix::Error::ENOSPC => {
            io::Error::new(io::ErrorKind::PermissionDenied, format!("no private mount namespace: {errno}"))
        }
        other => other.into(),
    }
}
