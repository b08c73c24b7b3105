//! `stopgap feed init`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_feed::FeedName;
use stopgap_publish::folder::{self, Address, Wishes};

use super::passphrase::PassphraseArgs;
use super::publish;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The feed's name, which stands in every document
    #[arg(long)]
    name: FeedName,
    /// Whose name stands in the certificates; default: the feed's
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Start with the mitigations of this folder, and release them
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Where subscribers will find the feed; default: `stopgap feed serve` on this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Whom subscribers ask
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// Put the keys under a passphrase
    #[arg(long)]
    protect_keys: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let now = Timestamp::now();
    // Lists of revoked certificates stand where the feed does; without an address there is no such place.
    let lists = args.url.is_some();
    let address = Address { contact: args.contact, ..Address::default() };
    let address = Address { url: args.url.unwrap_or(address.url), contact: address.contact };
    let (organization, from) = (args.organization.as_deref(), args.from.as_deref());
    let passphrase = args.protect_keys.then(|| args.passphrase.for_new_keys()).transpose()?;
    let wishes = Wishes { organization, from, address, lists, protect: passphrase.as_ref() };
    let made = folder::init_with(&args.dir, &args.name, &wishes, now)?;
    // A folder of mitigations is a feed at once: checked, proven, signed, or not released.
    let mut ask = |_: &Path| passphrase.clone().ok_or_else(|| std::io::Error::other("no passphrase"));
    let released = from.map(|_| publish::release(&args.dir, &mut ask, now)).transpose()?;
    if args.json {
        output::json(&serde_json::json!({
            "feed": args.name,
            "trust": made.trust,
            "card": made.card,
            "card_fingerprint": made.card_fingerprint,
            "released": released,
            "root_fingerprint": made.root_fingerprint,
            "mitigations": made.mitigations,
        }))?;
        return Ok(Code::Done);
    }
    let dir = args.dir.display();
    output::line(format_args!("made the feed `{}` in {dir}", args.name))?;
    output::line(format_args!("root fingerprint (SHA-256)  {}", made.root_fingerprint))?;
    output::line(format_args!("trust file for subscribers  {}", made.trust.display()))?;
    output::line(format_args!("card for subscribers        {}", made.card.display()))?;
    output::line(format_args!("card fingerprint (SHA-256)  {}", made.card_fingerprint))?;
    if let Some(released) = &released {
        output::line(format_args!(
            "released                    {}: serial {}, {} mitigations",
            released.path.display(),
            released.serial,
            made.mitigations.len()
        ))?;
    }
    output::say(format_args!("keep {dir}/root.key.pem offline: nobody needs it to release a feed"));
    output::say(format_args!(
        "next: stopgap feed new ID {dir}, stopgap feed publish {dir}, stopgap feed serve {dir}"
    ));
    Ok(Code::Done)
}
