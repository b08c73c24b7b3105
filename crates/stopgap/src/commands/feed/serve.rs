//! `stopgap feed serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use stopgap_publish::serve::{Server, Settings};

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
}

pub fn run(args: Args) -> Outcome {
    let file = if args.path.is_dir() { args.path.join("public/feed.xml") } else { args.path };
    system::runtime()?.block_on(async {
        let server = Server::bind(Settings::new(file, args.listen)).await?;
        output::say(format_args!("serving http://{}/feed.xml, events at /events", server.local_addr()));
        server.run(system::stopped()).await;
        Ok(Code::Done)
    })
}
