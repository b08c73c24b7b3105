//! `stopgap feed verify DOC --trust FILE`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use stopgap_feed::limits::Limits;
use stopgap_feed::trust::{Trust, TrustFile};
use stopgap_feed::verify;

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The signed document
    document: PathBuf,
    /// Whom to believe
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// Judge at this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let trust = load_trust(&args.trust)?;
    let bytes = read_bounded(&args.document, trust.limits)?;
    let now = args.at.unwrap_or_else(Timestamp::now);
    let feed = match verify(&trust, &bytes, None, &trust.local_revocation(), now) {
        Ok(feed) => feed,
        Err(refusal) if args.json => {
            output::json(&serde_json::json!({
                "trusted": false, "error": refusal.code(), "message": refusal.to_string(),
            }))?;
            return Ok(Code::NotTrusted);
        }
        Err(refusal) => {
            let code = refusal.code();
            let error = anyhow::Error::new(refusal)
                .context(format!("{} is not trusted: {code}", args.document.display()));
            return Err(Failure { error, hint: None, code: Code::NotTrusted });
        }
    };
    let document = feed.document();
    let ids: Vec<&str> = document.mitigations.iter().map(|mitigation| mitigation.id.as_str()).collect();
    if args.json {
        output::json(&serde_json::json!({
            "trusted": true,
            "version": document.version,
            "feed": document.feed,
            "serial": document.serial,
            "signer": feed.signer(),
            "judged_at": feed.judged_at(),
            "mitigations": ids,
        }))?;
    } else {
        output::line("trusted")?;
        output::line(format_args!("signer       {}", feed.signer()))?;
        output::line(format_args!("judged at    {}", feed.judged_at()))?;
        output::line(format_args!("version      {}", document.version))?;
        if let (Some(name), Some(serial)) = (&document.feed, document.serial) {
            output::line(format_args!("feed         {name}, serial {serial}"))?;
        }
        output::line(format_args!("mitigations  {}", ids.join(", ")))?;
    }
    for warning in &document.warnings {
        output::say(format_args!("warning: {warning}"));
    }
    Ok(Code::Done)
}

pub(super) fn load_trust(path: &Path) -> Result<Trust, Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the trust file {shown}"))?;
    let file: TrustFile = toml::from_str(&text).with_context(|| format!("{shown} is not a trust file"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(file
        .load_with(|named| std::fs::read(folder.join(named)))
        .with_context(|| format!("{shown} names what cannot be used"))?)
}

/// One octet above the limit is enough for the verifier to refuse the size by name.
pub(super) fn read_bounded(path: &Path, limits: Limits) -> Result<Vec<u8>, Failure> {
    let context = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(context)?;
    let mut bytes = Vec::new();
    file.take(limits.bytes as u64 + 1).read_to_end(&mut bytes).with_context(context)?;
    Ok(bytes)
}
