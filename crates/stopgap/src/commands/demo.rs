//! `stopgap demo`: the whole system on this machine, in a temporary folder, over loopback.

use crate::demo;
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// End with a summary instead of staying up
    #[arg(long)]
    once: bool,
    /// Print JSON
    #[arg(long, requires = "once")]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let runtime = system::wide_runtime()?;
    runtime.block_on(async {
        let mut stage = demo::Stage::new(args.json)?;
        let summary = demo::play(&mut stage).await;
        if args.json {
            output::json(&summary)?;
        } else {
            output::line(demo::words(&summary))?;
        }
        if !args.once && summary.ok {
            output::line(stage.invitation())?;
            system::stopped().await;
        }
        stage.end().await;
        Ok(if summary.ok { Code::Done } else { Code::Failed })
    })
}
