//! What the bench's library has to say beside its results goes to standard error: warnings of a command, and of a server
//! what it does as well. `STOPGAP_LOG` asks for more.

use tracing_subscriber::EnvFilter;

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_env("STOPGAP_LOG").unwrap_or_else(|_| EnvFilter::new(default))
}

/// Of a command that ends.
pub fn of_a_command() {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter("warn"));
    log.without_time().with_target(false).init();
}

/// Of a server.
pub fn of_a_server() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter("info")).init();
}
