//! The data folder: what is in it, who may work in it, and how its files are replaced.
//!
//! ```text
//!   lock                 held for a whole cycle, by the service or a command
//!   ledger.json          what we put on this server
//!   operator.json        the operator's word
//!   journal.jsonl        every change, before it happens
//!   feeds/NAME.xml       the last document that was trusted, as it came
//!   feeds/NAME.json      its serial, digest and what its server says of it
//!   feeds/NAME.cosignatures.json       what stood beside it
//!   crls/NAME.json, NAME.SHA256.crl    the revocation lists that its signers name
//!   TARGET/sets, live    generated files (stopgap-drivers, `set`)
//!   hub/                 what the organization's hub is told and says; hub/enrollment.json is a secret
//!   wake.txt             says nothing; replaced to have a service that runs look again
//! ```
//!
//! Nothing else in it is secret; modes keep others from writing.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use stopgap_core::Ledger;
use stopgap_drivers::Host;
use stopgap_drivers::host::{make_durable_folder, replace};

use crate::operator::Operator;

/// No file of ours grows beyond this; a larger one is not read into memory.
pub const MAX_BYTES: u64 = 64 << 20;

/// Mode of the data folder and its folders: others may read, since a web server has to.
pub const FOLDER_MODE: u32 = 0o755;
/// Mode of its files.
pub const FILE_MODE: u32 = 0o644;
/// Mode of a file that holds a secret.
pub const PRIVATE_MODE: u32 = 0o600;

/// What went wrong with a file of the data folder.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The machine refused.
    #[error("cannot {what} {path}")]
    Io {
        /// `read`, `write`, `create`, `lock`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not what we wrote.
    #[error("{path} is damaged: {message}; nothing was changed. Restore it, or move it aside to start anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the place.
        message: String,
    },
}

/// The data folder.
#[derive(Debug, Clone)]
pub struct Home {
    data: PathBuf,
}

/// Held for a whole cycle; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Home {
    /// The data folder at `data`, created where it is missing.
    pub fn open(host: &dyn Host, data: &Path) -> Result<Home, HomeError> {
        make_durable_folder(host, &data.join("feeds"), FOLDER_MODE).map_err(|source| HomeError::Io {
            what: "create",
            path: data.to_owned(),
            source,
        })?;
        Ok(Home { data: data.to_owned() })
    }

    /// The data folder at `data`, for reading alone: nothing is created.
    pub fn at(data: &Path) -> Home {
        Home { data: data.to_owned() }
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// Has the service look again, where one runs: something changed that it does not watch.
    pub fn wake(&self, host: &dyn Host) -> Result<(), HomeError> {
        match self.write(host, "wake.txt", b"Replaced to have the service look again.\n") {
            // Where there is no data folder no service runs.
            Err(HomeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Result<Lock, HomeError> {
        let path = self.path("lock");
        let failed = |source| HomeError::Io { what: "lock", path: path.clone(), source };
        // Windows locks no file that is open for appending alone.
        let file = File::options().create(true).read(true).append(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Lock(file))
    }

    /// The ledger; empty before the first cycle.
    pub fn ledger(&self, host: &dyn Host) -> Result<Ledger, HomeError> {
        Ok(self.load(host, "ledger.json")?.unwrap_or_default())
    }

    /// Replaces the ledger.
    pub fn save_ledger(&self, host: &dyn Host, ledger: &Ledger) -> Result<(), HomeError> {
        self.save(host, "ledger.json", ledger)
    }

    /// The operator's word.
    pub fn operator(&self, host: &dyn Host) -> Result<Operator, HomeError> {
        Ok(self.load(host, "operator.json")?.unwrap_or_default())
    }

    /// Replaces the operator's word.
    pub fn save_operator(&self, host: &dyn Host, operator: &Operator) -> Result<(), HomeError> {
        self.save(host, "operator.json", operator)
    }

    /// A JSON file; `None` where there is none.
    pub fn load<T: DeserializeOwned>(&self, host: &dyn Host, name: &str) -> Result<Option<T>, HomeError> {
        let path = self.path(name);
        let Some(bytes) = self.read(host, name)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| HomeError::Damaged { path, message: error.to_string() })
    }

    /// Replaces a JSON file, human-readable, atomically.
    pub fn save<T: Serialize>(&self, host: &dyn Host, name: &str, value: &T) -> Result<(), HomeError> {
        self.write(host, name, &self.json(name, value)?)
    }

    /// The same for a file that nobody else reads.
    pub fn save_private<T: Serialize>(
        &self,
        host: &dyn Host,
        name: &str,
        value: &T,
    ) -> Result<(), HomeError> {
        self.write_as(host, name, &self.json(name, value)?, PRIVATE_MODE)
    }

    fn json<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, HomeError> {
        let path = self.path(name);
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|error| HomeError::Damaged { path, message: error.to_string() })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Makes a folder in it, where it is missing.
    pub fn make_folder(&self, host: &dyn Host, name: &str) -> Result<(), HomeError> {
        let path = self.path(name);
        make_durable_folder(host, &path, FOLDER_MODE).map_err(|source| HomeError::Io {
            what: "create",
            path,
            source,
        })
    }

    /// A file's bytes; `None` where there is none.
    pub fn read(&self, host: &dyn Host, name: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path(name);
        match host.read(&path, MAX_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HomeError::Io { what: "read", path, source }),
        }
    }

    /// Replaces a file atomically.
    pub fn write(&self, host: &dyn Host, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        self.write_as(host, name, bytes, FILE_MODE)
    }

    fn write_as(&self, host: &dyn Host, name: &str, bytes: &[u8], mode: u32) -> Result<(), HomeError> {
        let path = self.path(name);
        replace(host, &path, bytes, mode).map_err(|source| HomeError::Io { what: "write", path, source })
    }
}
