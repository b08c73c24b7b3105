//! What the tests share: the corpus, tools, a publisher's PKI and a signer.

#![allow(dead_code)] // each test binary uses its own part

pub mod pki;
pub mod simulator;
pub mod token;

use std::path::{Path, PathBuf};

/// A file of the corpus; `None`, with a line that says so, where the corpus is absent.
pub fn corpus(test: &str, name: &str) -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("STOPGAP_CORPUS").map_or_else(|| "../shared/corpus".into(), PathBuf::from);
    let folder = root.join(folder);
    if !folder.is_dir() {
        println!("skipped (corpus absent): {test}");
        return None;
    }
    Some(std::fs::read(folder.join(name)).unwrap())
}

/// Whether a program is there. In CI it must be.
pub fn tool(test: &str, name: &str) -> bool {
    let found = std::process::Command::new(name).arg("--version").output().is_ok();
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {name}, which CI must have: {test}");
        println!("skipped (no {name}): {test}");
    }
    found
}

/// A feed of version 2 with one mitigation.
pub const FEED: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<EOCS version="2.0" feed="example" serial="42" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z">
  <Config id="PING1" desc="Heartbeat">
    <ActionList>
      <Action id="PING1.1" type="DoNothing" scope="Server" desc="Nothing"><Value>DoNothing</Value></Action>
    </ActionList>
  </Config>
</EOCS>
"#;

/// Numbers for generators: xorshift, so that a failing seed fails again.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}
