//! The commands, and how they are found. One file each.

#[cfg(feature = "agent")]
mod agent;
#[cfg(feature = "agent")]
mod apply;
#[cfg(feature = "agent")]
mod approve;
#[cfg(feature = "hub")]
mod audit;
#[cfg(feature = "agent")]
mod block;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "agent")]
mod diagnostics;
#[cfg(feature = "agent")]
mod explain;
mod feed;
#[cfg(feature = "gateway")]
mod gateway;
mod generate;
#[cfg(feature = "agent")]
mod get_mitigations;
#[cfg(feature = "agent")]
mod history;
#[cfg(feature = "hub")]
mod hub;
mod iis;
#[cfg(feature = "agent")]
mod local;
#[cfg(feature = "hub")]
mod org;
#[cfg(feature = "agent")]
mod pause;
#[cfg(feature = "agent")]
mod plan;
#[cfg(feature = "hub")]
mod remote;
#[cfg(feature = "agent")]
mod replay;
#[cfg(feature = "agent")]
mod retry;
mod rules;
#[cfg(any(feature = "agent", feature = "hub"))]
mod server;
#[cfg(feature = "agent")]
mod status;
#[cfg(feature = "agent")]
mod test_connectivity;
#[cfg(feature = "agent")]
mod why;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::exit::Outcome;

/// Put signed, temporary mitigations on affected servers, and take them off again when the fix is
/// installed.
#[derive(Parser)]
#[command(name = "stopgap", version, propagate_version = true)]
pub struct Cli {
    /// Read this configuration
    #[arg(long, global = true, value_name = "FILE", default_value_os_t = crate::system::default_config())]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

// The arguments of commands that nobody called are not made: a service keeps in memory what it once touched.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Show the whole system on this machine, step by step, then stay up
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Run the service, check a server's readiness, print hooks
    #[cfg(feature = "agent")]
    #[command(subcommand)]
    Agent(agent::Command),
    /// Show what is in force here, what is not, and why
    #[cfg(feature = "agent")]
    Status(status::Args),
    /// Show what a cycle would change, changing nothing
    #[cfg(feature = "agent")]
    Plan(plan::Args),
    /// Run one cycle now
    #[cfg(feature = "agent")]
    Apply(apply::Args),
    /// Tell which mitigation refuses a request
    #[cfg(feature = "agent")]
    Why(why::Args),
    /// Explain one mitigation: verdict, reason, files, probes
    #[cfg(feature = "agent")]
    Explain(explain::Args),
    /// Show what happened here
    #[cfg(feature = "agent")]
    History(history::Args),
    /// List Server, ID, Type, Description and Status
    #[cfg(feature = "agent")]
    GetMitigations(get_mitigations::Args),
    /// Show what publishers are told, where DataCollectionEnabled
    #[cfg(feature = "agent")]
    #[command(subcommand)]
    Diagnostics(diagnostics::Command),
    /// Test whether the feeds can be had and believed, step by step
    #[cfg(feature = "agent")]
    TestConnectivity(test_connectivity::Args),
    /// Keep mitigations from being applied here; what is in force stays
    #[cfg(feature = "agent")]
    Block(block::BlockArgs),
    /// Take back a block
    #[cfg(feature = "agent")]
    Unblock(block::UnblockArgs),
    /// Take mitigations off here, and block them
    #[cfg(feature = "agent")]
    Revert(block::BlockArgs),
    /// Let mitigations come into force here, where approval is required
    #[cfg(feature = "agent")]
    Approve(approve::ApproveArgs),
    /// Take back an approval; what is in force stays
    #[cfg(feature = "agent")]
    Unapprove(approve::UnapproveArgs),
    /// Change nothing here for some time
    #[cfg(feature = "agent")]
    Pause(pause::PauseArgs),
    /// End a pause
    #[cfg(feature = "agent")]
    Resume(pause::ResumeArgs),
    /// Try a mitigation again that failed, or a target again that was given up
    #[cfg(feature = "agent")]
    Retry(retry::Args),
    /// Show and change the settings of servers
    #[cfg(any(feature = "agent", feature = "hub"))]
    #[command(subcommand)]
    Server(server::Command),
    /// Show and change the organization's settings, at its hub
    #[cfg(feature = "hub")]
    #[command(subcommand)]
    Org(org::Command),
    /// Search and check the hub's audit log
    #[cfg(feature = "hub")]
    #[command(subcommand)]
    Audit(audit::Command),
    /// Run the organization's hub, and make its first tokens
    #[cfg(feature = "hub")]
    #[command(subcommand)]
    Hub(hub::Command),
    /// Follow feeds; start one, write, check, sign, verify and serve it
    #[command(subcommand)]
    Feed(feed::Command),
    /// Run the reverse proxy
    #[cfg(feature = "gateway")]
    #[command(subcommand)]
    Gateway(gateway::Command),
    /// Check, try and translate rewrite rules
    #[command(subcommand)]
    Rules(rules::Command),
    /// Check IIS's configuration
    #[command(subcommand)]
    Iis(iis::Command),
    /// Write manual pages and shell completions
    #[command(hide = true)]
    Generate(generate::Args),
}

/// Runs the command.
pub fn run(cli: Cli) -> Outcome {
    #[cfg_attr(not(any(feature = "agent", feature = "hub")), allow(unused_variables))]
    let config = cli.config.as_path();
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        #[cfg(feature = "agent")]
        Command::Agent(command) => agent::run(command, config),
        #[cfg(feature = "agent")]
        Command::Status(args) => status::run(args, config),
        #[cfg(feature = "agent")]
        Command::Plan(args) => plan::run(args, config),
        #[cfg(feature = "agent")]
        Command::Apply(args) => apply::run(args, config),
        #[cfg(feature = "agent")]
        Command::Explain(args) => explain::run(args, config),
        #[cfg(feature = "agent")]
        Command::Why(args) => why::run(args, config),
        #[cfg(feature = "agent")]
        Command::History(args) => history::run(args, config),
        #[cfg(feature = "agent")]
        Command::GetMitigations(args) => get_mitigations::run(args, config),
        #[cfg(feature = "agent")]
        Command::Diagnostics(command) => diagnostics::run(command, config),
        #[cfg(feature = "agent")]
        Command::TestConnectivity(args) => test_connectivity::run(args, config),
        #[cfg(feature = "agent")]
        Command::Block(args) => block::block(args, config),
        #[cfg(feature = "agent")]
        Command::Unblock(args) => block::unblock(args, config),
        #[cfg(feature = "agent")]
        Command::Revert(args) => block::revert(args, config),
        #[cfg(feature = "agent")]
        Command::Approve(args) => approve::approve(args, config),
        #[cfg(feature = "agent")]
        Command::Unapprove(args) => approve::unapprove(args, config),
        #[cfg(feature = "agent")]
        Command::Pause(args) => pause::pause(args, config),
        #[cfg(feature = "agent")]
        Command::Resume(args) => pause::resume(args, config),
        #[cfg(feature = "agent")]
        Command::Retry(args) => retry::run(args, config),
        #[cfg(any(feature = "agent", feature = "hub"))]
        Command::Server(command) => server::run(command, config),
        #[cfg(feature = "hub")]
        Command::Org(command) => org::run(command),
        #[cfg(feature = "hub")]
        Command::Audit(command) => audit::run(command),
        #[cfg(feature = "hub")]
        Command::Hub(command) => hub::run(command),
        Command::Feed(command) => feed::run(command, config),
        #[cfg(feature = "gateway")]
        Command::Gateway(command) => gateway::run(command),
        Command::Rules(command) => rules::run(command),
        Command::Iis(command) => iis::run(command),
        Command::Generate(args) => generate::run(args),
    }
}
