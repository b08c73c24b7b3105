//! `stopgap feed prepare`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::handover::{HandoverError, prepare};

use super::publish;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Write the octets that are to be signed here
    #[arg(long, value_name = "F.tosign")]
    out: PathBuf,
    /// Say again what was released last
    #[arg(long)]
    renew: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let waiting = match prepare(&args.dir, &args.out, args.renew, Timestamp::now()) {
        Ok(waiting) => waiting,
        Err(HandoverError::Release(error)) => return Err(publish::failed(&args.dir, error)),
        Err(error) => return Err(Failure::new(error)),
    };
    let out = args.out.display();
    if args.json {
        output::json(&waiting)?;
    } else {
        output::line(format_args!(
            "{out}: serial {} waits, valid until {}",
            waiting.serial, waiting.expires
        ))?;
        output::line(format_args!("sha256  {}", waiting.sha256))?;
    }
    output::say(format_args!(
        "next, where the key is: openssl dgst -{} -sign KEY.pem -out F.sig {out}",
        waiting.digest
    ));
    output::say(format_args!("then: stopgap feed assemble {} --signature F.sig", args.dir.display()));
    Ok(Code::Done)
}
