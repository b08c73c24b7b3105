//! The record of a target that takes things out of service, of what they were before. It is the one file of a set, with
//! a copy beside the sets: what is live may be removed or edited by hand, and then nothing else would tell our work from
//! somebody's. What a record says is the driver's matter.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use stopgap_core::observed::Live;
use stopgap_core::plan::Change;

use super::{LIVE, Sets};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, remove_if_there};

/// The one file of such a set, beside its manifest.
pub(crate) const RECORD: &str = "record.json";
const COPY: &str = ".record.json";

/// Some hundred octets for each of a handful of things.
const RECORD_MAX: u64 = 1 << 20;

impl Sets {
    /// The record that counts: the live one as it was written, else its copy, else what of the live one can still be
    /// read. A guess in its place would take our own work for somebody's, and leave it for ever.
    ///
    /// `target` and `what`, such as `units`, are for the error that says that none of them can be read.
    pub(crate) fn record<R: DeserializeOwned + Default>(
        &self,
        host: &dyn Host,
        live: &Live,
        (target, what): (&str, &str),
    ) -> Result<R, DriverError> {
        let path = self.folder.join(LIVE).join(RECORD);
        let (stands, copy) = (read(host, &path)?, read(host, &self.copy())?);
        let intact = live.foreign.is_empty();
        match (stands, copy) {
            (Some(Ok(record)), _) if intact => Ok(record),
            (_, Some(Ok(copy))) => Ok(copy),
            (Some(Ok(record)), _) => Ok(record),
            (None, _) if intact => Ok(R::default()),
            (stands, _) => {
                let why = stands.and_then(Result::err).unwrap_or_else(|| "it is not there".to_owned());
                let message = format!(
                    "which {what} are out of service by our hand, and what they were before, is not known: {} \
                     cannot be read ({why}), and neither can its copy. Put them back by hand, then remove {}",
                    path.display(),
                    self.folder.join(LIVE).display()
                );
                Err(DriverError::Settings { target: target.to_owned(), message })
            }
        }
    }

    /// Once a change stays: the copy says what the record does, and is not there where nothing is out of service.
    pub(crate) fn keep_record(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        let copy = self.copy();
        match change.after.as_ref().map(|after| after.files.get(RECORD)) {
            Some(Some(record)) => crate::host::replace_if_other(host, &copy, record.as_bytes(), 0o644)
                .map_err(io_error("cannot write", &copy)),
            Some(None) => Ok(()),
            // Also where it was removed before: a power cut brings back what was removed last.
            None => self.forget_record(host),
        }
    }

    /// Removes the copy. One that outlives what it speaks of claims things that are ours no more.
    pub(crate) fn forget_record(&self, host: &dyn Host) -> Result<(), DriverError> {
        let copy = self.copy();
        remove_if_there(host, &copy).map_err(io_error("cannot remove", &copy))
    }

    fn copy(&self) -> PathBuf {
        self.folder.join(COPY)
    }
}

/// The record at `path`; `None`: there is none; the inner error: what stands there is none.
fn read<R: DeserializeOwned>(host: &dyn Host, path: &Path) -> Result<Option<Result<R, String>>, DriverError> {
    match host.read(path, RECORD_MAX) {
        Ok(octets) => Ok(Some(serde_json::from_slice(&octets).map_err(|error| error.to_string()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(io_error("cannot read", path)(error)),
    }
}
