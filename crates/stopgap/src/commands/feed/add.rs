//! `stopgap feed add CARD --fingerprint SHA256`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use stopgap_agent::feeds::add::{self, AddError, FirstLook, Proposal};
use stopgap_agent::feeds::remove;
use stopgap_agent::feeds::view::{TrustView, types};
use stopgap_agent::fetch::Fetcher;
use stopgap_drivers::Machine;
use stopgap_feed::document::ActionType;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::{ask, output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The publisher's card: a file, or its https address
    card: String,
    /// The card's SHA-256, as its owner gave it to you on another way than the card
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Let the feed bring this action type too, such as Service; without it rewrite rules alone
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = action_type)]
    allow: Vec<ActionType>,
    /// A certificate that the card names by its SHA-256 (PEM or DER); else it is downloaded
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn action_type(text: &str) -> Result<ActionType, String> {
    serde_json::from_value(text.into())
        .map_err(|_| format!("expected DoNothing, UrlRewrite, Service or AppPool, found `{text}`"))
}

pub fn run(args: Args, path: &Path) -> Outcome {
    add(&args, path).or_else(|failure| match failure.error.downcast_ref::<AddError>() {
        Some(error) if args.json => {
            let message = format!("{:#}", failure.error);
            output::json(&serde_json::json!({ "added": false, "error": error.code(), "message": message }))?;
            Ok(failure.code)
        }
        _ => Err(failure),
    })
}

fn add(args: &Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let runtime = system::runtime()?;
    let fetcher = Fetcher::new(&config.network)?;
    let text = runtime.block_on(card_text(&fetcher, &args.card))?;
    let refused = |error| failure(error, &args.card);
    let mut vouched = add::vouch(&text, args.fingerprint.as_deref()).map_err(refused)?;
    if !args.yes && !ask::is_possible() {
        return Err(Failure::usage("nobody can be asked here: expected a terminal, or --yes"));
    }
    let read = |file: &PathBuf| runtime.block_on(file_octets(&fetcher, file));
    let roots = args.root.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let completed = runtime.block_on(add::complete(&fetcher, &mut vouched.card, &roots)).map_err(refused)?;
    let fingerprint = vouched.fingerprint.clone();
    let proposal = add::propose(&Machine, &config, vouched, &args.allow).map_err(refused)?;
    let now = Timestamp::now();
    let look = runtime.block_on(proposal.first_look(&fetcher, now)).map_err(refused)?;
    let mut warnings = completed;
    if let Some(message) = &look.message {
        warnings
            .push(format!("the feed could not be looked at, so nothing of it was verified yet: {message}"));
    }
    let asks = !args.yes && !proposal.is_there;
    let lines = lines(&proposal, &fingerprint, &look);
    if args.json {
        lines.iter().filter(|_| asks).for_each(output::say);
    } else {
        lines.iter().try_for_each(output::line)?;
    }
    warnings.iter().for_each(|warning| output::say(format_args!("warning: {warning}")));
    if asks {
        let question = "Shall this server believe this feed from now on?";
        if ask::one_of(question, &["yes", "no"])? != Some("yes") {
            return Err(Failure::new(anyhow::anyhow!("nothing was added: you said no")));
        }
    }
    let files = proposal.place(&Machine, &config).map_err(refused)?;
    remove::forget_removal(&config, &proposal.card.feed.name)?;
    if args.json {
        output::json(&serde_json::json!({
            "added": !proposal.is_there,
            "feed": proposal.card.feed.name,
            "url": proposal.card.feed.url,
            "mirrors": proposal.card.feed.mirrors,
            "contact": proposal.card.feed.contact,
            "card_fingerprint": fingerprint,
            "trust": TrustView::of(&proposal.trust),
            "beyond": proposal.beyond,
            "document": look,
            "files": files,
            "warnings": warnings,
        }))?;
    } else {
        let done = if proposal.is_there { "is there, unchanged" } else { "added" };
        output::say(format_args!("{} only: feed {} {done}", config.server, proposal.card.feed.name));
    }
    Ok(Code::Done)
}

async fn card_text(fetcher: &Fetcher, card: &str) -> Result<String, Failure> {
    let bytes = if card.starts_with("https://") {
        add::fetch(fetcher, card)
            .await
            .map_err(|why| anyhow::anyhow!("cannot fetch the card {card}: {why}"))?
    } else if card.contains("://") {
        return Err(Failure::usage(format_args!("{card}: expected a file or an https address")));
    } else {
        file_octets(fetcher, Path::new(card)).await?
    };
    Ok(String::from_utf8(bytes).with_context(|| format!("{card} is no card"))?)
}

async fn file_octets(fetcher: &Fetcher, file: &Path) -> anyhow::Result<Vec<u8>> {
    let octets = add::read(fetcher, file).await;
    octets.map_err(|why| anyhow::anyhow!("cannot read {}: {why}", file.display()))
}

/// What an operator has to know before saying yes.
fn lines(proposal: &Proposal, fingerprint: &str, look: &FirstLook) -> Vec<String> {
    let feed = &proposal.card.feed;
    let mut lines = vec![("feed".to_owned(), feed.name.to_string()), ("at".to_owned(), feed.url.clone())];
    lines.extend(feed.mirrors.iter().map(|mirror| ("mirror".to_owned(), mirror.clone())));
    lines.extend(
        feed.contact.iter().map(|contact| ("contact".to_owned(), contact.escape_debug().to_string())),
    );
    lines.push(("card SHA-256".to_owned(), fingerprint.to_owned()));
    lines.extend(TrustView::of(&proposal.trust).lines());
    if !proposal.beyond.is_empty() {
        let beyond = types(&proposal.beyond);
        lines.push(("asks beyond".to_owned(), format!("{beyond}: not given, --allow gives it")));
    }
    if let (true, Some(signer)) = (look.trusted, &look.signer) {
        let serial = look.serial.map_or("without serial".to_owned(), |serial| format!("serial {serial}"));
        let ends = look.expires.map_or(String::new(), |expires| format!(", valid until {expires}"));
        let brings = format!("{serial}, {} mitigations, signed by {signer}{ends}", look.mitigations);
        lines.push(("document".to_owned(), brings));
    }
    lines.into_iter().map(|(name, what)| format!("{name:<17} {what}")).collect()
}

fn failure(error: AddError, card: &str) -> Failure {
    let code = if error.is_distrust() { Code::NotTrusted } else { Code::Failed };
    let hint = match &error {
        AddError::NoFingerprint | AddError::WrongFingerprint { .. } => Some(format!(
            "its owner reads the SHA-256 of card.toml to you, on another way than the card came; compare it with \
             `sha256sum` of {card}, and give theirs"
        )),
        AddError::Exists { name, .. } => {
            Some(format!("`stopgap feed remove {name} --keep` or `--revert` first, or take its [[feed]] out"))
        }
        AddError::MissingRoot { .. } => Some("--root FILE brings it".to_owned()),
        AddError::Refused { .. } => Some("nothing was written; ask the card's owner".to_owned()),
        AddError::Card(_) | AddError::Trust(_) | AddError::Files(_) | AddError::Home(_) => None,
    };
    Failure { error: error.into(), hint, code }
}
