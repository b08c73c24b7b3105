//! The zip for Windows: the program, the PowerShell module, the configuration to begin with, the page that says how.
//!
//! Packed by Python, which knows the format and is on every builder; the same to the byte from the same files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cargo::{root, succeed};

/// Archive, time in Unix seconds, then pairs: a name in the archive and the file that it is. A zip knows no year before 1980.
const PACK: &str = "
import sys, time, zipfile
archive, epoch, rest = sys.argv[1], max(int(sys.argv[2]), 315532800), sys.argv[3:]
with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as out:
    for name, path in zip(rest[::2], rest[1::2]):
        entry = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
        entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 0, 0
        octets = open(path, 'rb').read()
        if not name.endswith('.exe'):
            octets = octets.replace(b'\\r\\n', b'\\n').replace(b'\\n', b'\\r\\n')
        out.writestr(entry, octets)
";

/// Packs it and says where it is.
pub(super) fn zip(program: &Path, out: &Path, epoch: &str) -> Result<PathBuf> {
    let name = format!("stopgap-{}-windows-x64", env!("CARGO_PKG_VERSION"));
    let archive = out.join(format!("{name}.zip"));
    let mut pack = Command::new("python3");
    pack.args(["-c", PACK]).arg(&archive).arg(epoch);
    let file = |path: &str| root().join(path);
    for (to, from) in [
        ("stopgap.exe", program.to_owned()),
        ("Stopgap.psm1", file("packaging/windows/Stopgap.psm1")),
        ("stopgap.example.toml", file("packaging/windows/stopgap.toml")),
        ("INSTALL.md", file("docs/windows.md")),
        ("iis.md", file("docs/iis.md")),
        ("LICENSE.txt", file("LICENSE")),
    ] {
        pack.arg(format!("{name}/{to}")).arg(from);
    }
    succeed(&mut pack)?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zip_is_the_same_to_the_byte_and_holds_what_it_says() {
        let folder = std::env::temp_dir().join(format!("stopgap-zip-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("p.exe");
        std::fs::write(&program, "MZ").unwrap();
        let one = std::fs::read(zip(&program, &folder, "1700000000").unwrap()).unwrap();
        let two = std::fs::read(zip(&program, &folder, "1700000000").unwrap()).unwrap();
        assert_eq!(one, two);
        let text = String::from_utf8_lossy(&one);
        for name in ["stopgap.exe", "Stopgap.psm1", "INSTALL.md", "LICENSE.txt"] {
            assert!(text.contains(&format!("-windows-x64/{name}")), "{name}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
