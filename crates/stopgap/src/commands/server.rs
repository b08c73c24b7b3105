//! `stopgap server`: settings of servers. `--local` is the one that you are on; any other is asked of the hub.

mod edits;
#[cfg(feature = "agent")]
mod local;
#[cfg(feature = "hub")]
mod remote;
#[cfg(feature = "hub")]
pub(super) mod wanted;

use std::path::Path;

use clap::builder::BoolishValueParser;
use jiff::SignedDuration;

use crate::exit::{Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List the organization's servers
    List(ListArgs),
    /// Print a server's settings as Exchange does
    Get(GetArgs),
    /// Change the settings of a server, of a group, or of every server
    Set(Box<SetArgs>),
    /// Forget a server; what is in force on it stays
    Remove(RemoveArgs),
}

#[derive(clap::Args)]
pub struct ListArgs {
    /// Only servers of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only servers with this label
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "group")]
    label: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct GetArgs {
    /// The server; needs a hub
    #[arg(required_unless_present = "local")]
    name: Option<String>,
    /// The server that you are on
    #[arg(long, conflicts_with = "name")]
    local: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(id = "scope", required = true, args = ["name", "group", "all", "local"])]
pub struct SetArgs {
    /// The server; needs a hub
    name: Option<String>,
    /// Every server of this group, those that join later included
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Every server that there is now, one by one
    #[arg(long)]
    all: bool,
    /// The server that you are on
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(clap::Args)]
pub struct RemoveArgs {
    /// The server
    name: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What is to become of settings; what is not given stays.
#[derive(clap::Args)]
pub struct Wanted {
    /// Whether mitigations are applied at all
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub mitigations_enabled: Option<bool>,
    /// Block these (M1,M2), one more (+M1) or one less (-M1); "" blocks none
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    pub mitigations_blocked: Option<String>,
    /// Take off what is blocked by this, where it is in force
    #[arg(long, requires = "mitigations_blocked")]
    pub revert: bool,
    /// How long the new blocks hold (4h, 7d); without it, until they are taken back
    #[arg(long = "for", value_name = "DURATION", requires = "mitigations_blocked", value_parser = system::lasting)]
    pub lasting: Option<SignedDuration>,
    /// Ask feeds through this proxy; "" asks directly
    #[arg(long, value_name = "URL")]
    pub internet_web_proxy: Option<String>,
    /// Hosts that are asked without the proxy
    #[arg(long, value_name = "HOSTS")]
    pub internet_web_proxy_bypass: Option<String>,
    /// Whether diagnostics are sent to publishers
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub data_collection_enabled: Option<bool>,
    /// Whether a person approves each revision first: required or automatic; "" says nothing at this level
    #[arg(long, value_name = "HOW", value_parser = ["required", "automatic", ""])]
    pub approval: Option<String>,
    /// Hold every change for so long (4h, 7d), or until then (2026-11-22T20:00:00Z); "" holds none
    #[arg(long, value_name = "UNTIL")]
    pub freeze: Option<String>,
    /// When something new may come into force, in UTC ("sat,sun 02:00 6h"), several times; "any time" whatever a farther
    /// level says; "" says nothing at this level
    #[arg(long = "window", value_name = "WINDOW")]
    pub windows: Vec<String>,
    /// How many servers change at a time; 0 says nothing at this level
    #[arg(long, value_name = "N")]
    pub max_parallel: Option<u32>,
    /// How many servers may have a service or a pool stopped at a time; 0 says nothing at this level
    #[arg(long, value_name = "N")]
    pub max_stopped: Option<u32>,
    /// Why; the hub's audit log keeps it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Wanted {
    #[cfg_attr(not(feature = "agent"), allow(dead_code))]
    fn is_more_than_local(&self) -> bool {
        self.revert
            || self.lasting.is_some()
            || self.internet_web_proxy.is_some()
            || self.internet_web_proxy_bypass.is_some()
            || self.data_collection_enabled.is_some()
            || self.approval.is_some()
            || self.freeze.is_some()
            || !self.windows.is_empty()
            || self.max_parallel.is_some()
            || self.max_stopped.is_some()
    }
}

#[cfg_attr(not(feature = "agent"), allow(unused_variables))]
pub fn run(command: Command, config: &Path) -> Outcome {
    match command {
        #[cfg(feature = "agent")]
        Command::Get(args) if args.local => local::get(args.json, config),
        #[cfg(feature = "agent")]
        Command::Set(args) if args.local => local::set(&args.wanted, config),
        #[cfg(feature = "hub")]
        command => remote::run(command),
        #[cfg(not(feature = "hub"))]
        _ => Err(Failure::usage("other servers are asked of a hub, and this build asks none")
            .hint("`--local` is the server that you are on")),
    }
}

/// A server as Exchange prints one.
fn list_form(name: &str, enabled: bool, applied: &[String], blocked: &[String]) -> Result<(), Failure> {
    let enabled = if enabled { "True" } else { "False" };
    output::line(format_args!("Name                : {name}"))?;
    output::line(format_args!("MitigationsEnabled  : {enabled}"))?;
    output::line(format_args!("MitigationsApplied  : {{{}}}", applied.join(", ")))?;
    output::line(format_args!("MitigationsBlocked  : {{{}}}", blocked.join(", ")))?;
    Ok(())
}
