//! What the binary asks the system itself: this server's name, signals, a runtime.

use std::io;

/// This server's name, for reports and waves.
#[cfg_attr(not(any(feature = "agent", feature = "hub")), allow(dead_code))]
pub fn hostname() -> String {
    #[cfg(unix)]
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok();
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

/// Where the configuration is looked for when nobody says otherwise.
pub fn default_config() -> std::path::PathBuf {
    #[cfg(feature = "agent")]
    return stopgap_agent::config::default_path();
    #[cfg(not(feature = "agent"))]
    "/etc/stopgap/stopgap.toml".into()
}

/// Who gives an order: the account that called `sudo`, else this process's own.
#[cfg_attr(not(any(feature = "agent", feature = "hub")), allow(dead_code))]
pub fn user() -> String {
    // Whoever can set this without sudo speaks for root anyway.
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| is_account(name));
    if let Some(name) = by_sudo {
        return name;
    }
    #[cfg(unix)]
    {
        let id = nix::unistd::Uid::current();
        let named = nix::unistd::User::from_uid(id).ok().flatten().map(|user| user.name);
        named.unwrap_or_else(|| format!("uid {id}"))
    }
    #[cfg(not(unix))]
    std::env::var("USERNAME").unwrap_or_else(|_| "somebody".into())
}

/// Nothing that would spoil a line of a log.
#[cfg_attr(not(any(feature = "agent", feature = "hub")), allow(dead_code))]
fn is_account(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// How long: `12h`, `90m`, and, which the library's durations do not take, `7d`. A day is 24 hours here, whatever
/// the clock of some place did on it.
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
pub fn lasting(text: &str) -> Result<jiff::SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) => Ok(jiff::SignedDuration::from_hours(i64::from(days) * 24)),
        None => text.parse().map_err(|_| format!("{text:?} is no duration; expected 12h, 90m or 7d")),
    }
}

/// A runtime on this thread: commands and the agent, which wait most of the time.
#[cfg_attr(not(any(feature = "agent", feature = "publish", feature = "hub")), allow(dead_code))]
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A runtime on every core: servers.
#[cfg_attr(not(any(feature = "gateway", feature = "hub")), allow(dead_code))]
pub fn wide_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Lets this process open as many files as it may, and says how many that is. What a shell gives at first, mostly 1024,
/// is for programs that call select(2); a hub has a socket for each server.
#[cfg(feature = "hub")]
pub fn raise_open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Some(if raised { hard } else { soft })
    }
    #[cfg(not(unix))]
    None
}

/// Resolves when the service is asked to stop.
#[cfg_attr(
    not(any(feature = "agent", feature = "publish", feature = "gateway", feature = "hub")),
    allow(dead_code)
)]
pub async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }
            Err(_) => {
                let _ = tokio::signal::ctrl_c().await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
