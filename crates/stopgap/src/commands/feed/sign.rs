//! `stopgap feed sign`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stopgap_feed::c14n::Canonicalization;
use stopgap_publish::key::FileKey;
use stopgap_publish::sign::{self, Chain};

use super::passphrase::PassphraseArgs;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The unsigned document
    file: PathBuf,
    /// The signing key: PKCS#8, PEM
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// The signer's certificate first, then intermediates
    #[arg(long, value_name = "CHAIN.pem")]
    chain: PathBuf,
    /// Write the signed document here
    #[arg(long, value_name = "SIGNED.xml")]
    out: PathBuf,
    /// The canonical form that is signed
    #[arg(long, value_enum, default_value = "exclusive")]
    c14n: Form,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Form {
    Exclusive,
    Inclusive,
}

pub fn run(args: Args) -> Outcome {
    let form = match args.c14n {
        Form::Exclusive => Canonicalization::Exclusive,
        Form::Inclusive => Canonicalization::Inclusive,
    };
    let key = FileKey::read(&args.key, &mut args.passphrase.asking())?;
    let signed = sign::feed(&read(&args.file)?, &key, &Chain::from_pem(&read(&args.chain)?)?, form)
        .with_context(|| format!("{} was not signed", args.file.display()))?;
    std::fs::write(&args.out, signed).with_context(|| format!("cannot write {}", args.out.display()))?;
    output::line(args.out.display())?;
    Ok(Code::Done)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
