//! `stopgap feed`: the feeds of this server, the publisher's bench, and `feed verify` for everybody.

#[cfg(feature = "agent")]
mod add;
#[cfg(feature = "publish")]
mod adoption;
#[cfg(feature = "publish")]
mod assemble;
#[cfg(feature = "publish")]
mod card;
#[cfg(feature = "publish")]
mod cosign;
#[cfg(feature = "agent")]
mod export;
#[cfg(feature = "agent")]
mod import;
#[cfg(feature = "publish")]
mod init;
#[cfg(feature = "publish")]
mod lint;
#[cfg(feature = "agent")]
mod list;
#[cfg(feature = "publish")]
mod log;
#[cfg(feature = "publish")]
mod new;
#[cfg(feature = "publish")]
mod passphrase;
#[cfg(feature = "publish")]
mod prepare;
#[cfg(feature = "publish")]
mod prove;
#[cfg(feature = "publish")]
mod publish;
#[cfg(feature = "agent")]
mod remove;
#[cfg(feature = "publish")]
mod renew;
#[cfg(feature = "publish")]
mod revoke;
#[cfg(feature = "publish")]
mod rotate;
#[cfg(feature = "publish")]
mod serve;
#[cfg(feature = "publish")]
mod sign;
#[cfg(feature = "agent")]
mod trust;
mod verify;
#[cfg(feature = "publish")]
mod withdraw;

use std::path::Path;

use crate::exit::Outcome;

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Follow a feed from now on, by its publisher's card
    #[cfg(feature = "agent")]
    Add(add::Args),
    /// List the feeds of this server, or what they released
    #[cfg(feature = "agent")]
    List(list::Args),
    /// Show which roots can sign a feed, and what else must hold
    #[cfg(feature = "agent")]
    Trust(trust::Args),
    /// Stop following a feed
    #[cfg(feature = "agent")]
    Remove(remove::Args),
    /// Bring a document that was carried here, and run a cycle
    #[cfg(feature = "agent")]
    Import(import::Args),
    /// Write what a feed brought into a folder, to be carried to another server
    #[cfg(feature = "agent")]
    Export(export::Args),
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
    /// Show what servers told of the mitigations, day by day
    #[cfg(feature = "publish")]
    Adoption(adoption::Args),
    /// Verify a release, and sign that it is good
    #[cfg(feature = "publish")]
    Cosign(cosign::Args),
    /// Recall a mitigation, and release that
    #[cfg(feature = "publish")]
    Withdraw(withdraw::Args),
    /// Release again what was released last, with a new end
    #[cfg(feature = "publish")]
    Renew(renew::Args),
    /// Revoke one of the feed's own certificates
    #[cfg(feature = "publish")]
    Revoke(revoke::Args),
    /// Replace keys and certificates
    #[cfg(feature = "publish")]
    Rotate(rotate::Args),
    /// Make a release that is signed elsewhere
    #[cfg(feature = "publish")]
    Prepare(prepare::Args),
    /// Release what waits, with a signature that was made elsewhere
    #[cfg(feature = "publish")]
    Assemble(assemble::Args),
    /// Make the card for subscribers again
    #[cfg(feature = "publish")]
    Card(card::Args),
    /// Verify any document, Microsoft's too
    Verify(verify::Args),
}

#[cfg_attr(not(feature = "agent"), allow(unused_variables))]
pub fn run(command: Command, config: &Path) -> Outcome {
    #[cfg(feature = "publish")]
    match &command {
        Command::Serve(_) => log::of_a_server(),
        Command::Publish(_)
        | Command::Withdraw(_)
        | Command::Renew(_)
        | Command::Revoke(_)
        | Command::Rotate(_)
        | Command::Prepare(_)
        | Command::Assemble(_)
        | Command::Card(_) => log::of_a_command(),
        _ => {}
    }
    match command {
        #[cfg(feature = "agent")]
        Command::Add(args) => add::run(args, config),
        #[cfg(feature = "agent")]
        Command::List(args) => list::run(args, config),
        #[cfg(feature = "agent")]
        Command::Trust(args) => trust::run(args, config),
        #[cfg(feature = "agent")]
        Command::Remove(args) => remove::run(args, config),
        #[cfg(feature = "agent")]
        Command::Import(args) => import::run(args, config),
        #[cfg(feature = "agent")]
        Command::Export(args) => export::run(args, config),
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
        #[cfg(feature = "publish")]
        Command::Adoption(args) => adoption::run(args),
        #[cfg(feature = "publish")]
        Command::Cosign(args) => cosign::run(args),
        #[cfg(feature = "publish")]
        Command::Withdraw(args) => withdraw::run(args),
        #[cfg(feature = "publish")]
        Command::Renew(args) => renew::run(args),
        #[cfg(feature = "publish")]
        Command::Revoke(args) => revoke::run(args),
        #[cfg(feature = "publish")]
        Command::Rotate(args) => rotate::run(args),
        #[cfg(feature = "publish")]
        Command::Prepare(args) => prepare::run(args),
        #[cfg(feature = "publish")]
        Command::Assemble(args) => assemble::run(args),
        #[cfg(feature = "publish")]
        Command::Card(args) => card::run(args),
        Command::Verify(args) => verify::run(args),
    }
}
