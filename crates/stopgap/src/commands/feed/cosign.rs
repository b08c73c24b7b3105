//! `stopgap feed cosign`.

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use stopgap_feed::verify;
use stopgap_publish::cosign::{before_cosigning, cosign, place, refuse_own_key};
use stopgap_publish::key::FileKey;
use stopgap_publish::sign::Chain;

use super::passphrase::PassphraseArgs;
use super::verify::{load_trust, read_bounded};
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The release to be co-signed
    feed: PathBuf,
    /// Whom to believe: what is not trusted is not co-signed
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The co-signer's key: PKCS#8, PEM
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// The co-signer's certificate first, then intermediates
    #[arg(long, value_name = "CHAIN.pem")]
    chain: PathBuf,
    /// Write the co-signature here; default: the next free name beside the feed
    #[arg(long, value_name = "COSIG.xml")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub fn run(args: Args) -> Outcome {
    let trust = before_cosigning(load_trust(&args.trust)?);
    let bytes = read_bounded(&args.feed, trust.limits)?;
    let shown = args.feed.display();
    let verified = match verify(&trust, &bytes, None, &trust.local_revocation(), Timestamp::now()) {
        Ok(verified) => verified,
        Err(refusal) => {
            let code = refusal.code();
            let error = anyhow::Error::new(refusal).context(format!("{shown} is not trusted: {code}"));
            return Err(Failure::new(error).code(Code::NotTrusted));
        }
    };
    let document = verified.document();
    let ids: Vec<&str> = document.mitigations.iter().map(|mitigation| mitigation.id.as_str()).collect();
    output::say(format_args!(
        "{}, serial {}, by {}: {}",
        document.feed.as_ref().map_or("(no name)", |name| name.as_str()),
        document.serial.unwrap_or_default(),
        verified.signer(),
        ids.join(", ")
    ));
    let key = FileKey::read(&args.key, &mut args.passphrase.asking())?;
    refuse_own_key(&bytes, &key)?;
    let chain =
        std::fs::read(&args.chain).with_context(|| format!("cannot read {}", args.chain.display()))?;
    let cosignature = cosign(&verified, &key, &Chain::from_pem(&chain)?)?;
    let path = match args.out {
        Some(out) => {
            std::fs::write(&out, cosignature).with_context(|| format!("cannot write {}", out.display()))?;
            out
        }
        None => place(&args.feed, &cosignature)?,
    };
    output::line(path.display())?;
    Ok(Code::Done)
}
