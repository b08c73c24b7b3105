//! The service: what starts a cycle, and what goes on between two.
//!
//! A cycle starts at once, every hour (a tenth more or less), when a feed's event stream says that
//! something is out, when a watched file changes, when time alone changes something (a turn comes, a
//! pause ends), and some minutes after something failed. Signals end it between two cycles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use stopgap_core::diagnostics::Diagnostics;
use stopgap_drivers::Machine;
use stopgap_feed::{FeedName, Id};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{Config, ConfigError, FeedConfig};
use crate::cycle::{Done, Input, Mode, cycle, next_wait, words};
use crate::diagnostics::{self, documents};
use crate::events::Event;
use crate::facts::facts;
use crate::fetch::{Delivery, Failure, Fault, Fetched, Fetcher};
use crate::follow::follow;
use crate::home::{Home, HomeError};
use crate::hub::{self, Enrollment, Link};
use crate::monitor::{self, Monitor};
use crate::targets::targets;
use crate::tell;
use crate::trust::{self, Standing};
use crate::watch::watch;

/// Several changes within this time are one: an editor writes a file in pieces.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// After failures a changed file waits no longer than this.
const LONGEST_CALM: Duration = Duration::from_secs(300);

/// Why a cycle could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Watching files.
    #[error("cannot watch files")]
    Watch(#[from] notify::Error),
    /// A cycle ended in a bug.
    #[error("a cycle ended unexpectedly: {0}")]
    Bug(String),
}

/// One cycle from outside the service: `plan` and `apply`.
pub async fn once(mut config: Config, jump: Vec<Id>, mode: Mode) -> Result<Done, AgentError> {
    let mut heard = false;
    if mode == Mode::Apply {
        heard = hub::once(&config).await;
        // What was said a moment ago may name another way out.
        config = hub::configured(&config.path, &config.server).unwrap_or(config);
    }
    let fetched = match ready(&config) {
        Ok(fetcher) => fetch_all(&fetcher, &config).await.0,
        Err(error) => asked_in_vain(&config, &error),
    };
    let done = run_cycle(config.clone(), fetched, jump, mode).await?;
    if mode == Mode::Apply {
        tell::once(&config).await;
    }
    // A hub that is away holds a command up once.
    if heard {
        hub::once(&config).await;
    }
    Ok(done)
}

/// One cycle without asking the network: `revert`, `block`, `server set`.
pub async fn once_offline(config: Config, mode: Mode) -> Result<Done, AgentError> {
    run_cycle(config, BTreeMap::new(), Vec::new(), mode).await
}

/// One cycle with what was brought by hand: `feed import`. It is judged as what comes over the network.
pub async fn once_with(config: Config, fetched: BTreeMap<FeedName, Delivery>) -> Result<Done, AgentError> {
    run_cycle(config, fetched, Vec::new(), Mode::Apply).await
}

/// What starts a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The timer, a push, the start: the feeds are asked.
    Feeds,
    /// A file: what is known here decides.
    File,
    /// The time: what is known here decides, too.
    Time,
    /// The organization said something else than before.
    Hub,
}

/// Resolves when the service is to end.
pub type Shutdown = Pin<Box<dyn Future<Output = ()>>>;

/// Runs until `shutdown` resolves. The first cycle asks nobody, so that what a crash left is put
/// right before any network is waited for.
///
/// In a box, so that its code is compiled here and not where it is called from: among all commands it would lie
/// scattered, and a service keeps the surroundings of what it runs in memory, too.
pub fn run(
    path: PathBuf,
    hostname: String,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = Result<(), AgentError>>>> {
    Box::pin(async move { serve(&path, &hostname, shutdown).await })
}

async fn serve(path: &Path, hostname: &str, mut shutdown: Shutdown) -> Result<(), AgentError> {
    let mut config = hub::configured(path, hostname)?;
    let home = Home::open(&Machine, &config.data)?;
    let mut fetcher = ready(&config);
    let (wake_file, mut file_changed) = mpsc::channel(1);
    let (wake_feed, mut feed_out) = mpsc::channel(16);
    let (wake_hub, mut hub_said) = mpsc::channel(1);
    let mut watching = watch(&config, wake_file.clone())?;
    let link = Link::begin(&config, wake_hub, wake_feed.clone());
    let mut followed: BTreeMap<FeedName, Followed> = BTreeMap::new();
    let mut failures = 0;
    let mut unfinished = 0;
    Event::Service { detail: format!("stopgap {} started", env!("CARGO_PKG_VERSION")) }.log();
    let mut monitor = Monitor::begin();
    let mut teller = tell::Teller::default();
    let (_, mut stopping) = lap_to_its_end(&config, BTreeMap::new(), &mut monitor, &mut shutdown).await;
    if !stopping && Enrollment::is_there(&home, &Machine) {
        // What it holds back is not to come into force a moment before its word arrives.
        tokio::select! {
            () = &mut shutdown => return goodbye(),
            () = link.first_word() => {}
        }
        config = hub::configured(path, hostname).unwrap_or(config);
        fetcher = ready(&config);
    }
    let mut wake = Wake::Feeds;
    let mut asked = Instant::now();
    let mut ask_at = asked;
    while !stopping {
        let mut fetched = BTreeMap::new();
        if wake == Wake::Feeds {
            match &fetcher {
                Ok(fetcher) => {
                    let streams;
                    (fetched, streams) = tokio::select! {
                        () = &mut shutdown => break,
                        answers = fetch_all(fetcher, &config) => answers,
                    };
                    follow_all(fetcher, &config, streams, &mut followed, &wake_feed);
                }
                Err(error) => fetched = asked_in_vain(&config, error),
            }
            asked = Instant::now();
            ask_at = asked + next_wait(config.interval, fastrand::f64());
        }
        let lap;
        (lap, stopping) = lap_to_its_end(&config, fetched, &mut monitor, &mut shutdown).await;
        if stopping {
            break;
        }
        failures = if lap.well { 0 } else { failures + 1 };
        unfinished = if lap.unfinished { unfinished + 1 } else { 0 };
        link.nudge(&config);
        teller.nudge(&config);
        if let (Ok(fetcher), false) = (&fetcher, lap.diagnostics.is_empty()) {
            diagnostics::after(&config, lap.diagnostics, fetcher, Timestamp::now());
        }
        let again = [lap.due, retry_wait(unfinished)].into_iter().flatten().min();
        wake = tokio::select! {
            () = &mut shutdown => break,
            () = sleep_until(ask_at) => Wake::Feeds,
            () = sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => Wake::Time,
            _ = feed_out.recv() => Wake::Feeds,
            _ = hub_said.recv() => Wake::Hub,
            _ = file_changed.recv() => Wake::File,
        };
        if wake == Wake::File {
            tokio::select! {
                () = &mut shutdown => break,
                () = sleep(calm_down(failures)) => {}
            }
        }
        // What happens from here on is seen by this cycle, or wakes the next one.
        while file_changed.try_recv().is_ok() {}
        while hub_said.try_recv().is_ok() {}
        while feed_out.try_recv().is_ok() {
            wake = Wake::Feeds;
        }
        // A drop-in folder may be new. It is watched before it is read, so that what is written in between
        // wakes the next lap. Without a new watch the old one goes on.
        match watching.renewed(&config, &wake_file) {
            Ok(None) => {}
            Ok(Some(new)) => watching = new,
            Err(error) => Event::Failed { detail: format!("cannot watch files: {error}") }.log(),
        }
        match hub::configured(path, hostname) {
            Ok(changed) => {
                // A feed that was added an instant ago is not to be asked in an hour.
                if changed.feeds != config.feeds {
                    wake = Wake::Feeds;
                }
                // Nor does another interval wait for the end of the one before.
                if changed.interval != config.interval {
                    ask_at = asked + next_wait(changed.interval, fastrand::f64());
                }
                config = changed;
            }
            // The configuration that works goes on working.
            Err(error) => Event::Failed { detail: words(&error) }.log(),
        }
        match renewed(&fetcher, &config) {
            Ok(None) => {
                if let Ok(fetcher) = &mut fetcher {
                    by_hub(fetcher, &config);
                }
            }
            Ok(Some(mut other)) => {
                by_hub(&mut other, &config);
                fetcher = Ok(other);
                // What is followed goes the new way, too.
                followed.clear();
            }
            Err(error) => Event::Failed { detail: error }.log(),
        }
    }
    drop(watching);
    goodbye()
}

fn goodbye() -> Result<(), AgentError> {
    Event::Service { detail: "stopgap stopped; what is in force stays in force".into() }.log();
    Ok(())
}

/// A way out, or why there is none. What is in force is looked after in any case.
fn ready(config: &Config) -> Result<Fetcher, String> {
    let mut fetcher = Fetcher::new(&config.network).map_err(|error| words(&error))?;
    by_hub(&mut fetcher, config);
    Ok(fetcher)
}

/// The hub's mirror is asked as this server is enrolled now.
fn by_hub(fetcher: &mut Fetcher, config: &Config) {
    let enrollment = Enrollment::load(&Home::at(&config.data), &Machine).ok().flatten();
    fetcher.by_hub(enrollment, &config.network);
}

/// Another way out where the configuration, or a file that it names, changed. One that works goes on
/// working while they are wrong.
fn renewed(fetcher: &Result<Fetcher, String>, config: &Config) -> Result<Option<Fetcher>, String> {
    match fetcher {
        Ok(fetcher) => fetcher.renewed(&config.network).map_err(|error| words(&error)),
        Err(_) => ready(config).map(Some),
    }
}

fn asked_in_vain(config: &Config, error: &str) -> BTreeMap<FeedName, Delivery> {
    let failed = || Fetched::Failed(Failure::new(Fault::Network, error)).into();
    config.feeds.iter().map(|feed| (feed.name.clone(), failed())).collect()
}

/// How a cycle of the service went.
#[derive(Debug, Clone, PartialEq)]
struct Lap {
    well: bool,
    unfinished: bool,
    /// The wait until time alone changes something.
    due: Option<Duration>,
    /// What publishers may be told, and where; nothing where they are not.
    diagnostics: Vec<(url::Url, Diagnostics)>,
}

/// A cycle that has begun is carried to its end, whoever asks the service to stop meanwhile: then the second value is
/// true, and whoever asked is told how long it may take.
async fn lap_to_its_end(
    config: &Config,
    fetched: BTreeMap<FeedName, Delivery>,
    monitor: &mut Monitor,
    shutdown: &mut Shutdown,
) -> (Lap, bool) {
    let lap = lap(config, fetched, monitor);
    tokio::pin!(lap);
    tokio::select! {
        biased;
        lap = &mut lap => return (lap, false),
        () = shutdown => {}
    }
    monitor::stop_takes(config);
    (lap.await, true)
}

async fn lap(config: &Config, fetched: BTreeMap<FeedName, Delivery>, monitor: &mut Monitor) -> Lap {
    if hub::asks_first(config) {
        hub::forget_turn(config);
        if let Ok(planned) = run_cycle(config.clone(), fetched.clone(), Vec::new(), Mode::Plan).await {
            hub::ask_for_turn(config, &planned).await;
        }
    }
    monitor.cycle_begins();
    let done = run_cycle(config.clone(), fetched, Vec::new(), Mode::Apply).await;
    monitor.cycle_ended(config, &done);
    match done {
        Ok(done) => {
            done.events.iter().for_each(Event::log);
            let collects = config.data_collection_enabled;
            Lap {
                diagnostics: if collects { documents(config, &done.report) } else { Vec::new() },
                well: !done.failed && !done.reverted,
                unfinished: done.unfinished,
                due: done.due.map(|due| wait_until(due, Timestamp::now())),
            }
        }
        Err(error) => {
            Event::Failed { detail: words(&error) }.log();
            Lap { well: false, unfinished: true, due: None, diagnostics: Vec::new() }
        }
    }
}

/// The wait until `due`, a moment longer: a cycle that came too early would find nothing to do. Not less than a
/// second, whatever the clock does.
fn wait_until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default().max(Duration::from_secs(1))
        + Duration::from_millis(50)
}

/// How long what failed waits for its next try: 1, 5 and 15 minutes; after that the hourly cycle suffices.
fn retry_wait(unfinished: u32) -> Option<Duration> {
    let minutes = match unfinished {
        1 => 1,
        2 => 5,
        3 => 15,
        _ => return None,
    };
    Some(Duration::from_secs(minutes * 60))
}

/// How long a changed file waits: a moment, and longer after each cycle that failed, since a failed
/// change touches the very files that are watched.
fn calm_down(failures: u32) -> Duration {
    match failures {
        0 => DEBOUNCE,
        failures => Duration::from_secs(1).saturating_mul(1 << failures.min(8)).min(LONGEST_CALM),
    }
}

/// Starts following what is not followed yet, and ends what is no longer configured.
fn follow_all(
    fetcher: &Fetcher,
    config: &Config,
    streams: Streams,
    followed: &mut BTreeMap<FeedName, Followed>,
    wake: &mpsc::Sender<FeedName>,
) {
    let feeds: BTreeMap<&FeedName, &FeedConfig> =
        config.feeds.iter().map(|feed| (&feed.name, feed)).collect();
    followed.retain(|name, _| feeds.contains_key(name));
    for (name, url) in streams {
        if followed.get(&name).is_none_or(|stream| stream.url != url) {
            let to_private = feeds.get(&name).is_some_and(|feed| feed.redirects_to_private);
            let task = follow(fetcher.clone(), url.clone(), to_private, name.clone(), wake.clone());
            let task = tokio::spawn(task).abort_handle();
            followed.insert(name, Followed { url, task });
        }
    }
}

/// A stream that is followed; dropping it ends that.
struct Followed {
    url: url::Url,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Streams = BTreeMap<FeedName, url::Url>;

/// Asks every feed at once, before the lock: a slow network keeps no operator waiting.
async fn fetch_all(fetcher: &Fetcher, config: &Config) -> (BTreeMap<FeedName, Delivery>, Streams) {
    let home = Home::at(&config.data);
    let asked = config.feeds.iter().map(|feed| {
        let home = &home;
        async move { (feed, fetch_one(fetcher, home, feed).await) }
    });
    let mut fetched = BTreeMap::new();
    let mut streams = Streams::new();
    for (feed, delivery) in futures_util::future::join_all(asked).await {
        if let Some(url) = stream(feed, &delivery) {
            streams.insert(feed.name.clone(), url);
        }
        fetched.insert(feed.name.clone(), delivery);
    }
    (fetched, streams)
}

/// Asks one feed's addresses. Without its trust file, or with a memory that is damaged, nobody is asked:
/// the cycle finds the same and says so.
async fn fetch_one(fetcher: &Fetcher, home: &Home, feed: &FeedConfig) -> Delivery {
    let standing = trust::load_trust(&Machine, feed).and_then(|trust| {
        Standing::load(home, &Machine, &feed.name, trust).map_err(|error| error.to_string())
    });
    match standing {
        Ok(standing) => fetcher.fetch(feed, &standing, Timestamp::now()).await,
        Err(message) => Fetched::Failed(Failure::new(Fault::File, message)).into(),
    }
}

fn stream(feed: &FeedConfig, delivery: &Delivery) -> Option<url::Url> {
    let configured = feed.events.as_deref().and_then(|url| url::Url::parse(url).ok());
    configured.or_else(|| delivery.events.clone())
}

async fn run_cycle(
    config: Config,
    fetched: BTreeMap<FeedName, Delivery>,
    jump: Vec<Id>,
    mode: Mode,
) -> Result<Done, AgentError> {
    let blocking = move || -> Result<Done, AgentError> {
        let host = Machine;
        let (home, _lock) = match mode {
            Mode::Plan => (Home::at(&config.data), None),
            Mode::Apply => {
                let home = Home::open(&host, &config.data)?;
                let lock = home.lock()?;
                (home, Some(lock))
            }
        };
        let facts = facts(&config);
        let targets = targets(&config, &facts)?;
        let input = Input {
            host: &host,
            home: &home,
            config: &config,
            targets: &targets,
            facts: &facts,
            fetched,
            jump,
            mode,
            now: Timestamp::now(),
        };
        let now = input.now;
        let done = cycle(input)?;
        // A hub that is not told does not make a cycle fail: the next one with news tells it.
        if mode == Mode::Apply
            && let Err(error) = hub::note(&home, &host, &config, &facts, &done, now)
        {
            tracing::warn!("what the hub is to be told is not kept: {}", words(&error));
        }
        if mode == Mode::Apply
            && let Err(error) = tell::note(&home, &host, &config, &done, now)
        {
            tracing::warn!("what people are to be told is not kept: {}", words(&error));
        }
        Ok(done)
    };
    tokio::task::spawn_blocking(blocking).await.map_err(|error| AgentError::Bug(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again_within_the_hour() {
        let waits: Vec<u64> = (1..4).filter_map(retry_wait).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [60, 300, 900]);
        assert_eq!((retry_wait(0), retry_wait(4)), (None, None));
    }

    #[test]
    fn a_moment_that_is_over_starts_no_storm_of_cycles() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let wait = |seconds| wait_until(now + jiff::SignedDuration::from_secs(seconds), now).as_millis();
        assert_eq!([wait(-60), wait(0), wait(600)], [1_050, 1_050, 600_050]);
    }

    #[test]
    fn a_failing_change_does_not_wake_itself_without_end() {
        let waits: Vec<u64> = (0..12).map(|failures| calm_down(failures).as_millis() as u64).collect();
        assert_eq!(waits[..4], [20, 2_000, 4_000, 8_000]);
        assert_eq!(waits[11], 256_000);
        assert!(calm_down(u32::MAX) <= LONGEST_CALM);
    }
}
