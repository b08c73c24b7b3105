//! `stopgap feed new`.

use std::path::PathBuf;

use stopgap_feed::Id;
use stopgap_publish::folder;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The mitigation's id, such as M1
    id: Id,
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What it is about, in a sentence
    #[arg(long = "desc", value_name = "TEXT", default_value = "")]
    description: String,
}

pub fn run(args: Args) -> Outcome {
    let path = folder::new(&args.dir, &args.id, &args.description)?;
    output::line(path.display())?;
    output::say("write mitigation.xml, attack.http and benign.http there, then run `stopgap feed prove`");
    Ok(Code::Done)
}
