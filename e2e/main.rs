//! End to end: the real binary, as publishers, operators and clients meet it, with a real nginx and
//! the gateway in front of an origin that logs what reaches it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod catalogue;
mod cli;
mod console;
mod feeds;
mod first_trust;
mod hub;
mod hub_agents;
mod hub_faults;
mod iis;
mod kill;
mod life;
mod load;
mod nginx;
#[path = "console/node.rs"]
mod node;
mod package;
mod phpfpm;
mod proxies;
mod publisher;
mod replay;
mod served;
mod systemd;
mod world;
