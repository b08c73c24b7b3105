//! `stopgap feed`: the publisher's bench, and `feed verify` for everybody.

#[cfg(feature = "publish")]
mod init;
#[cfg(feature = "publish")]
mod lint;
#[cfg(feature = "publish")]
mod new;
#[cfg(feature = "publish")]
mod prove;
#[cfg(feature = "publish")]
mod publish;
#[cfg(feature = "publish")]
mod serve;
#[cfg(feature = "publish")]
mod sign;
mod verify;

use crate::exit::Outcome;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Start a feed with its own PKI
    #[cfg(feature = "publish")]
    Init(init::Args),
    /// Start a mitigation in a feed
    #[cfg(feature = "publish")]
    New(new::Args),
    /// Check a feed before it is signed
    #[cfg(feature = "publish")]
    Lint(lint::Args),
    /// Run every attack and every legitimate request against the rules
    #[cfg(feature = "publish")]
    Prove(prove::Args),
    /// Sign a document with a key and its chain
    #[cfg(feature = "publish")]
    Sign(sign::Args),
    /// Check, prove, sign and release a feed with the next serial
    #[cfg(feature = "publish")]
    Publish(publish::Args),
    /// Serve a released feed, with its event stream
    #[cfg(feature = "publish")]
    Serve(serve::Args),
    /// Verify any document, Microsoft's too
    Verify(verify::Args),
}

pub fn run(command: Command) -> Outcome {
    match command {
        #[cfg(feature = "publish")]
        Command::Init(args) => init::run(args),
        #[cfg(feature = "publish")]
        Command::New(args) => new::run(args),
        #[cfg(feature = "publish")]
        Command::Lint(args) => lint::run(args),
        #[cfg(feature = "publish")]
        Command::Prove(args) => prove::run(args),
        #[cfg(feature = "publish")]
        Command::Sign(args) => sign::run(args),
        #[cfg(feature = "publish")]
        Command::Publish(args) => publish::run(args),
        #[cfg(feature = "publish")]
        Command::Serve(args) => serve::run(args),
        Command::Verify(args) => verify::run(args),
    }
}
