//! `stopgap hub test-notification`: sends a message to everybody whom `hub.toml` names, here and now, past the outbox.

use jiff::Timestamp;
use stopgap_hub::tell;

use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The hub's data folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stopgap-hub")]
    data: std::path::PathBuf,
    /// Send to this receiver alone: `mail`, or `webhook NAME`
    #[arg(long, value_name = "RECEIVER")]
    only: Option<String>,
}

pub fn run(args: Args) -> Outcome {
    let receivers = tell::receivers(&args.data).map_err(Failure::usage)?;
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    let named: Vec<_> = receivers.all().filter(|receiver| wanted(&receiver.name())).collect();
    if named.is_empty() {
        let why = match &args.only {
            Some(only) => format!("hub.toml in {} names no receiver {only:?}", args.data.display()),
            None => format!(
                "nobody is told: hub.toml in {} has neither [mail] nor [[webhook]]",
                args.data.display()
            ),
        };
        return Err(Failure::usage(why));
    }
    system::runtime()?.block_on(async {
        let mut code = Code::Done;
        for receiver in named {
            let now = Timestamp::now();
            let message = tell::test_message("test".to_owned(), &system::user(), now);
            let delivery = format!("test-{}", now.as_nanosecond());
            match receiver.send(&message, &delivery, now).await {
                Ok(()) => output::line(format_args!("{}: sent", receiver.name()))?,
                Err(error) => {
                    output::line(format_args!("{}: not sent: {error}", receiver.name()))?;
                    code = Code::Failed;
                }
            }
        }
        Ok(code)
    })
}
