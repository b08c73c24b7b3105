//! `%ProgramData%\Stopgap`: the administrators' and the system's alone.
//!
//! Everybody may make folders in `%ProgramData%`, and the service does what the files in this one say. So a folder that
//! somebody else made is not taken over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windows_registry::LOCAL_MACHINE;

/// Owner, and full control for nobody but the system and administrators; nothing is inherited from above.
pub const ALONE: &str = "O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
/// The same for a file.
const ALONE_FILE: &str = "O:BAG:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)";

/// The system, and administrators.
const TRUSTED: [&str; 2] = ["S-1-5-18", "S-1-5-32-544"];

/// More names are not ours.
const NAMES_MAX: usize = 100_000;

/// `%ProgramData%` as the registry has it; nothing where it says it by a variable that this process does not have.
pub fn program_data() -> Option<PathBuf> {
    const PROFILES: &str = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\ProfileList";
    let said = LOCAL_MACHINE.open(PROFILES).and_then(|key| key.get_string("ProgramData")).ok()?;
    let path = match said.strip_prefix("%SystemDrive%") {
        Some(rest) => std::env::var("SystemDrive").ok()? + rest,
        None => said,
    };
    (!path.contains('%')).then(|| PathBuf::from(path))
}

/// Has `folder` stand there, with everything in it for administrators and the system alone. What somebody else owns in it
/// is an error, and nothing is changed then.
pub fn make(folder: &Path) -> io::Result<()> {
    if stopgap_windows::create_protected(folder, ALONE)? {
        return Ok(());
    }
    let ours = ours(folder)?;
    let mut all = vec![folder.to_owned()];
    collect(folder, &mut all)?;
    for path in &all {
        let owner = stopgap_windows::owner(path)?;
        if !ours.contains(&owner) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} belongs to {owner}, not to the administrators: look at it and move it away",
                    path.display()
                ),
            ));
        }
    }
    for path in &all {
        stopgap_windows::protect(path, if path.is_dir() { ALONE } else { ALONE_FILE })?;
    }
    Ok(())
}

/// Who may own what is in the folder: besides administrators and the system, whoever this process makes files as.
fn ours(folder: &Path) -> io::Result<Vec<String>> {
    let own = folder.with_file_name(format!("Stopgap.{}", std::process::id()));
    fs::create_dir(&own)?;
    let owner = stopgap_windows::owner(&own);
    fs::remove_dir(&own)?;
    Ok(TRUSTED.map(str::to_owned).into_iter().chain([owner?]).collect())
}

fn collect(folder: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A junction counts as a link: what it leads to is not ours.
        if kind.is_symlink() {
            let message = format!("{} is a link: remove it", entry.path().display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        if all.len() >= NAMES_MAX {
            return Err(io::Error::other(format!("more than {NAMES_MAX} names in {}", folder.display())));
        }
        all.push(entry.path());
        if kind.is_dir() {
            collect(&entry.path(), all)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_made_again_with_what_is_in_it() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("Stopgap");
        make(&folder).unwrap();
        fs::create_dir(folder.join("Data")).unwrap();
        fs::write(folder.join("stopgap.toml"), "x").unwrap();
        make(&folder).unwrap();
        assert_eq!(fs::read(folder.join("stopgap.toml")).unwrap(), b"x");
        let mut names: Vec<_> = fs::read_dir(above.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.pop().unwrap(), "Stopgap");
        assert_eq!(names.len(), 0, "what was made to look at its owner is gone");
    }
}
