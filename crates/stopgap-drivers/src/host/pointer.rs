//! Links where the system has none that fit: a link of Windows needs a privilege, and no rename replaces one that leads to
//! a folder. A small file stands in for it, which says where it leads; a rename replaces it in one step, as it does a link
//! elsewhere. Only this program reads such links: a server that has to follow one of ours is the gateway, which can.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What such a file begins with; the gateway (`rules.rs`) knows it, too.
const MARK: &str = "stopgap link to ";

/// No path of ours is longer.
const MAX: u64 = 4096;

/// What stands in the file.
pub(super) fn text(to: &Path) -> io::Result<Vec<u8>> {
    let words = to.to_str().filter(|to| !to.contains('\n') && (to.len() as u64) < MAX / 2);
    let to = words.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the target of a link"))?;
    // One form, whatever the separators of the system.
    Ok(format!("{MARK}{}\n", to.replace('\\', "/")).into_bytes())
}

/// Where the file at `path` leads; `None`: it is no such file, or there is none.
pub(super) fn target(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut octets = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX).read_to_end(&mut octets)?,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let words =
        std::str::from_utf8(&octets).ok().and_then(|text| text.strip_prefix(MARK)?.strip_suffix('\n'));
    Ok(words.map(PathBuf::from))
}

/// `path` without such files on the way: for a path that leads nowhere as it stands.
pub(super) fn follow(path: &Path) -> PathBuf {
    for link in path.ancestors().skip(1) {
        if let (Ok(Some(to)), Some(folder), Ok(rest)) = (target(link), link.parent(), path.strip_prefix(link))
        {
            return folder.join(to).join(rest);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_in_for_a_link_and_what_is_behind_it_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let sets = folder.path().join("sets").join("one");
        std::fs::create_dir_all(&sets).unwrap();
        std::fs::write(sets.join("record.json"), "{}").unwrap();
        let live = folder.path().join("live");
        std::fs::write(&live, text(&Path::new("sets").join("one")).unwrap()).unwrap();
        assert_eq!(target(&live).unwrap(), Some(PathBuf::from("sets/one")));
        assert_eq!(std::fs::read(follow(&live.join("record.json"))).unwrap(), b"{}");
        std::fs::write(&live, "sets/one").unwrap();
        assert_eq!(target(&live).unwrap(), None, "somebody's own file is no link");
        assert_eq!(target(&folder.path().join("none")).unwrap(), None);
        assert_eq!(follow(&live.join("x")), live.join("x"));
        assert!(text(Path::new("a\nb")).is_err());
    }
}
