//! End to end: the real binary, as publishers, operators and clients meet it, with a real nginx and
//! the gateway in front of an origin that logs what reaches it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod catalogue;
mod cli;
mod console;
mod diagnostics;
mod feeds;
mod first_trust;
mod hub;
mod hub_agents;
mod hub_clock;
mod hub_faults;
mod hub_fronts;
mod hub_places;
mod hub_replicas;
mod hub_tells;
mod iis;
mod kill;
mod life;
mod load;
mod nginx;
#[path = "console/node.rs"]
mod node;
mod package;
mod phpfpm;
#[allow(dead_code, reason = "the hub's own tests use more of it")]
#[path = "../crates/stopgap-hub/tests/hub/common/postgres.rs"]
mod postgres;
mod proxies;
mod publisher;
mod replay;
mod sandbox;
mod served;
#[path = "../crates/stopgap-hub/tests/hub/tell/smtp.rs"]
mod smtp;
mod systemd;
mod world;
