//! `stopgap feed serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use stopgap_publish::folder::FeedFolder;
use stopgap_publish::serve::{ADOPTION_FILE, Server, Settings, TlsFiles};

use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder, or a signed document
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Listen here
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8780")]
    listen: SocketAddr,
    /// Serve over TLS, with this certificate and its intermediates
    #[arg(long, value_name = "CHAIN.pem", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "KEY.pem", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let folder = if args.path.is_dir() { Some(FeedFolder::open(&args.path)?) } else { None };
    let file = folder.as_ref().map_or(args.path, FeedFolder::public_feed);
    let mut settings = Settings::new(file, args.listen);
    if let Some(folder) = &folder {
        // Who is away that long must be told before it begins.
        let days = i64::from(folder.settings().on_call_gap_days);
        settings.warn_before = SignedDuration::from_hours(days * 24);
        settings.adoption = Some(folder.path(ADOPTION_FILE));
    }
    let files = args.tls_cert.zip(args.tls_key);
    settings.tls = files.map(|(certificates, key)| TlsFiles { certificates, key });
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    system::runtime()?.block_on(async {
        let server = Server::bind(settings).await?;
        output::say(format_args!("serving {scheme}://{}/feed.xml, events at /events", server.local_addr()));
        // What the publisher has to be told (the release ends, a list does) goes through the log.
        server.run(system::stopped()).await;
        Ok(Code::Done)
    })
}
