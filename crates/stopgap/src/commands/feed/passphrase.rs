//! Where the passphrase of a protected key comes from: a terminal, a file, an open descriptor. Never an argument or the
//! environment, which other processes can read.

use std::io;
use std::path::{Path, PathBuf};

use stopgap_publish::key::{Passphrase, read_private};

use crate::exit::Failure;

/// Fewer characters are guessed by whoever has the file.
const SHORTEST: usize = 12;

#[derive(clap::Args)]
pub struct PassphraseArgs {
    /// Read the passphrase of protected keys from this file
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(unix, arg(conflicts_with = "passphrase_fd"))]
    passphrase_file: Option<PathBuf>,
    /// Read it from this open descriptor
    #[cfg(unix)]
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

impl PassphraseArgs {
    /// Gives the passphrase of a key. A file or descriptor is read once and serves every key.
    pub fn asking(&self) -> impl FnMut(&Path) -> io::Result<Passphrase> {
        let source = self.source();
        let mut read: Option<Passphrase> = None;
        move |key: &Path| {
            let Some(source) = &source else {
                return whole(rpassword::prompt_password(format!("passphrase of {}: ", key.display()))?);
            };
            let passphrase = match read.take() {
                Some(passphrase) => passphrase,
                None => from(source)?,
            };
            read = Some(passphrase.clone());
            Ok(passphrase)
        }
    }

    /// A passphrase for new keys; on a terminal it is asked twice.
    pub fn for_new_keys(&self) -> Result<Passphrase, Failure> {
        if let Some(source) = self.source() {
            let given = from(&source)?;
            return if given.characters() < SHORTEST { Err(too_short()) } else { Ok(given) };
        }
        let first =
            rpassword::prompt_password("a passphrase for the new keys: ").map_err(without_terminal)?;
        if first.chars().count() < SHORTEST {
            return Err(too_short());
        }
        if rpassword::prompt_password("once more: ")? != first {
            return Err(Failure::usage("the two passphrases differ"));
        }
        Ok(whole(first)?)
    }

    #[cfg(not(unix))]
    fn source(&self) -> Option<PathBuf> {
        self.passphrase_file.clone()
    }

    #[cfg(unix)]
    fn source(&self) -> Option<PathBuf> {
        let descriptor = self.passphrase_fd.map(|number| PathBuf::from(format!("/dev/fd/{number}")));
        self.passphrase_file.clone().or(descriptor)
    }
}

fn from(source: &Path) -> io::Result<Passphrase> {
    let text = read_private(source).map_err(io::Error::other)?;
    whole(text.lines().next().unwrap_or_default().to_owned())
}

fn whole(text: String) -> io::Result<Passphrase> {
    Passphrase::new(text.into_bytes()).ok_or_else(|| io::Error::other("expected a passphrase, found none"))
}

fn too_short() -> Failure {
    Failure::usage(format_args!("expected a passphrase of {SHORTEST} characters or more"))
}

fn without_terminal(error: io::Error) -> Failure {
    Failure::new(anyhow::Error::new(error).context("no passphrase could be asked for"))
        .hint("without a terminal: --passphrase-file or --passphrase-fd")
}
