//! A publisher, who works with the binary alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ROOT, Ran, stopgap, text};

/// A feed's folder.
pub struct Publisher {
    pub folder: PathBuf,
    pub name: String,
}

impl Publisher {
    pub(super) fn init(folder: PathBuf, name: &str) -> Publisher {
        let ran = stopgap(&["feed", "init", text(&folder), "--name", name]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        Publisher { folder, name: name.to_owned() }
    }

    /// Adds one of the project's own mitigations.
    pub fn add(&self, id: &str) {
        let (from, to) = (Path::new(ROOT).join("mitigations").join(id), self.mitigation(id));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }

    /// Writes a mitigation: its `<Config>`, and the targets of requests that prove it.
    pub fn write(&self, id: &str, config: &str, attack: &[&str], benign: &[&str]) {
        let folder = self.mitigation(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mitigation.xml"), config).unwrap();
        for (file, targets) in [("attack.http", attack), ("benign.http", benign)] {
            let heads: String = targets
                .iter()
                .map(|target| format!("### {target}\nGET {target} HTTP/1.1\nHost: mail.example.org\n\n"))
                .collect();
            fs::write(folder.join(file), heads).unwrap();
        }
    }

    /// A mitigation's folder.
    pub fn mitigation(&self, id: &str) -> PathBuf {
        self.folder.join("mitigations").join(id)
    }

    /// Recalls a mitigation in the next release.
    pub fn withdraw(&self, id: &str, reason: &str) {
        fs::remove_dir_all(self.mitigation(id)).unwrap();
        let settings = self.folder.join("feed.toml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(settings, format!("{text}\n[[withdrawn]]\nid = {id:?}\nreason = {reason:?}\n")).unwrap();
    }

    /// Proves, signs and releases; it must succeed.
    pub fn publish(&self) -> Ran {
        let ran = stopgap(&["feed", "publish", text(&self.folder)]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran
    }

    /// The released document.
    pub fn feed(&self) -> PathBuf {
        self.folder.join("public/feed.xml")
    }

    /// The trust file for subscribers.
    pub fn trust(&self) -> PathBuf {
        self.folder.join("trust.toml")
    }

    /// The `[[feed]]` that follows the file itself.
    pub fn table(&self) -> String {
        self.table_at(&format!("file://{}", self.feed().display()))
    }

    /// The `[[feed]]` that follows a URL.
    pub fn table_at(&self, url: &str) -> String {
        format!("[[feed]]\nname = {:?}\nurl = {url:?}\ntrust = {:?}\n", self.name, text(&self.trust()))
    }
}
