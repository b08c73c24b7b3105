//! `stopgap history`: what was changed here, and what was said by whom, from the journal.

use std::path::Path;

use stopgap_agent::home::Home;
use stopgap_agent::journal::{Event, Journal, Line};
use stopgap_core::plan::ActionRef;
use stopgap_drivers::Machine;

use super::local;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let lines = Journal::new(&Home::at(&config.data), &Machine).lines()?;
    if args.json {
        output::json(&lines)?;
    } else if lines.is_empty() {
        output::say("nothing was changed here yet");
    } else {
        output::line(output::table(&["TIME", "TARGET", "WHAT", "DETAIL"], lines.into_iter().map(row)))?;
    }
    Ok(Code::Done)
}

fn row(line: Line) -> Vec<String> {
    let (target, what, detail) = match line.what {
        Event::Begin { change } => {
            let on = names("on", &change.puts_on);
            let off = names("off", &change.takes_off);
            (change.target, "begins", format!("{on}{off}"))
        }
        Event::Done { target } => (target, "done", String::new()),
        Event::Reverted { target, why } => (target, "reverted", why),
        Event::Open { target, why } => (target, "stays open", why),
        Event::Word { by, said } => (String::new(), "said", format!("{by}: {said}")),
    };
    vec![format!("{:.0}", line.at), target, what.to_owned(), detail]
}

fn names(word: &str, actions: &[ActionRef]) -> String {
    let names: Vec<String> = actions.iter().map(|a| format!("{}:{}", a.key.feed, a.action)).collect();
    if names.is_empty() { String::new() } else { format!("{word} {} ", names.join(", ")) }
}
