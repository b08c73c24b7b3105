//! What goes on between this server and its hub while the service runs: settings are asked, reports are sent,
//! the credential is renewed, the event stream is followed.
//!
//! ```text
//!   start, hourly, "settings changed" ─► ask ─► hub/settings.json ─► a cycle
//!   a cycle had news                  ─► tell ─► hub/reports.json shrinks
//!   "serial N is out" at the mirror   ─► the feeds are asked
//! ```
//!
//! It runs beside the cycles and holds none up: a hub that does not answer is asked again after waits that grow,
//! each a random part of itself, so that a fleet does not come back in one moment.

mod exchange;
mod listen;

use std::time::Duration;

use jiff::Timestamp;
use stopgap_drivers::Machine;
use stopgap_feed::FeedName;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{Client, HubError};
use super::enrollment::Enrollment;
use super::said::Said;
use super::turn::Waiting;
use crate::config::{Config, NetworkConfig};
use crate::cycle::{next_wait, words};
use crate::events::Event;
use crate::home::{Home, HomeError};
use crate::trust;
use exchange::{ask, fall_back, in_touch, renew, tell};
use listen::{Heard, listen};

/// The floor under every push, whatever the interval of the feeds.
const POLL: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// A service that starts waits so long for what its organization says before it asks the feeds.
const FIRST: Duration = Duration::from_secs(10);
/// What a command waits for the hub.
const COMMAND: Duration = Duration::from_secs(10);
/// Who lost the stream asks within this time.
const LOST: Duration = Duration::from_secs(5);
/// Between two attempts.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The service's end of it; dropping it ends the task.
pub(crate) struct Link {
    config: watch::Sender<Config>,
    tried: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Link {
    /// Begins. `wake`: something was said that the next cycle must heed. `feeds`: a feed is out at the mirror.
    pub(crate) fn begin(config: &Config, wake: mpsc::Sender<()>, feeds: mpsc::Sender<FeedName>) -> Link {
        let (config, changed) = watch::channel(config.clone());
        let (done, tried) = watch::channel(false);
        let task = tokio::spawn(run(changed, done, wake, feeds)).abort_handle();
        Link { config, tried, task }
    }

    /// A cycle is over, or the configuration is another: there may be something to tell.
    pub(crate) fn nudge(&self, config: &Config) {
        self.config.send_replace(config.clone());
    }

    /// Waits until the hub was asked once, for a short time.
    pub(crate) async fn first_word(&self) {
        let mut tried = self.tried.clone();
        let _ = timeout(FIRST, tried.wait_for(|tried| *tried)).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks and tells once, for a command: where no service runs, nobody else does. Whether the hub answered.
pub(crate) async fn once(config: &Config) -> bool {
    let home = Home::at(&config.data);
    let Ok(Some(enrollment)) = Enrollment::load(&home, &Machine) else { return false };
    let Ok(client) = Client::new(&enrollment, &config.network) else { return false };
    let both = async {
        ask(&home, &client, &enrollment).await?;
        tell(&home, &client, config, &enrollment).await
    };
    // The service tells how the hub is met; a command has its own errors to tell.
    matches!(timeout(COMMAND, both).await, Ok(Ok(_)))
}

/// A hub, as long as the enrollment and the way to it stay the same.
struct Tie {
    enrollment: Enrollment,
    network: NetworkConfig,
    client: Client,
    heard: mpsc::Receiver<Heard>,
    listener: AbortHandle,
}

impl Tie {
    fn new(enrollment: Enrollment, network: &NetworkConfig) -> Result<Tie, HubError> {
        let client = Client::new(&enrollment, network)?;
        let (say, heard) = mpsc::channel(16);
        let listener = tokio::spawn(listen(client.clone(), say)).abort_handle();
        Ok(Tie { enrollment, network: network.clone(), client, heard, listener })
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// When what is due.
struct Due {
    ask_at: Instant,
    /// Nothing is asked before.
    not_before: Instant,
    wait: Duration,
}

impl Due {
    fn now() -> Due {
        let now = Instant::now();
        Due { ask_at: now, not_before: now, wait: MIN_WAIT }
    }

    fn worked(&mut self) {
        self.wait = MIN_WAIT;
    }

    /// `asked`: how long the hub wants not to be asked.
    fn failed(&mut self, asked: Option<Duration>) {
        // At least half of it: a random part alone would now and then be nothing.
        let wait = self.wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.not_before = Instant::now() + wait.max(asked.unwrap_or_default());
        self.wait = self.wait.saturating_mul(2).min(MAX_WAIT);
    }
}

async fn run(
    mut config: watch::Receiver<Config>,
    tried: watch::Sender<bool>,
    wake: mpsc::Sender<()>,
    feeds: mpsc::Sender<FeedName>,
) {
    let mut tie: Option<Tie> = None;
    let mut due = Due::now();
    let mut complained = String::new();
    loop {
        let now_config = config.borrow_and_update().clone();
        let home = Home::at(&now_config.data);
        match tied(&home, &now_config, tie.take(), &mut due) {
            Ok(kept) => tie = kept,
            Err(error) if error != complained => {
                Event::Hub { detail: format!("the hub cannot be asked: {error}") }.log();
                complained = error;
            }
            Err(_) => {}
        }
        let Some(tied) = &mut tie else {
            tried.send_replace(true);
            if config.changed().await.is_err() {
                return;
            }
            continue;
        };
        if Instant::now() >= due.not_before {
            let met = exchange(&home, &now_config, tied, &mut due, &wake).await;
            let refused = met.as_ref().is_err_and(HubError::is_of_credential);
            if refused && fall_back(&home, &now_config.network, &tied.enrollment).await {
                continue;
            }
            if let Err(error) = in_touch(&home, &tied.enrollment, met.as_ref().err()).await {
                tracing::debug!("hub/contact.json: {}", words(&error));
            }
            match met {
                Ok(()) => due.worked(),
                Err(error) => due.failed(error.retry_after(MAX_WAIT)),
            }
        }
        tried.send_replace(true);
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            heard = tied.heard.recv() => heed(heard, &home, &mut due, (&wake, &feeds)).await,
            () = sleep_until(due.ask_at.max(due.not_before)) => {}
        }
    }
}

/// The tie that counts: the one that is, or another where the enrollment or the way changed.
fn tied(home: &Home, config: &Config, before: Option<Tie>, due: &mut Due) -> Result<Option<Tie>, String> {
    let enrollment = Enrollment::load(home, &Machine).map_err(|error| words(&error))?;
    let Some(enrollment) = enrollment else { return Ok(None) };
    if let Some(tie) = before
        && tie.enrollment == enrollment
        && tie.network.ca_bundle == config.network.ca_bundle
    {
        return Ok(Some(tie));
    }
    *due = Due::now();
    Tie::new(enrollment, &config.network).map(Some).map_err(|error| words(&error))
}

/// What the stream said. That the settings are what is kept is no reason to ask.
async fn heed(
    heard: Option<Heard>,
    home: &Home,
    due: &mut Due,
    (wake, feeds): (&mpsc::Sender<()>, &mpsc::Sender<FeedName>),
) {
    match heard {
        Some(Heard::Settings(version)) => {
            let kept = Said::load(home, &Machine).ok().flatten();
            if kept.is_none_or(|said| said.settings.version != version) {
                due.ask_at = Instant::now();
            }
        }
        Some(Heard::Feed(feed, serial)) => {
            let known = trust::load(home, &Machine, &feed).ok().flatten().and_then(|seen| seen.last);
            // A feed without serials is asked in any case.
            let is_known = serial.zip(known).is_some_and(|(serial, known)| serial <= known.serial);
            if !is_known {
                let _ = feeds.send(feed).await;
            }
        }
        // Only who waits has a reason to look: the cycle that follows asks.
        Some(Heard::Place) => {
            let waiting = Waiting::load(home, &Machine, Timestamp::now()).ok().flatten();
            if waiting.is_some_and(|waiting| waiting.stops().is_some()) {
                let _ = wake.send(()).await;
            }
        }
        // A poll tells whether the hub is away, and `status` says since when. Not all servers ask in one moment.
        Some(Heard::Lost) => due.ask_at = Instant::now() + LOST.mul_f64(fastrand::f64()),
        Some(Heard::Back) => {
            due.ask_at = Instant::now();
            due.not_before = due.ask_at;
        }
        None => {}
    }
}

/// One meeting: ask what is due, tell what waits, renew what is old.
async fn exchange(
    home: &Home,
    config: &Config,
    tie: &Tie,
    due: &mut Due,
    wake: &mpsc::Sender<()>,
) -> Result<(), HubError> {
    let Tie { client, enrollment, .. } = tie;
    if Instant::now() >= due.ask_at {
        if ask(home, client, enrollment).await? {
            // A full queue already holds the same message.
            let _ = wake.try_send(());
        }
        due.ask_at = Instant::now() + next_wait(POLL, fastrand::f64());
    }
    if tell(home, client, config, enrollment).await? {
        due.ask_at = Instant::now();
    }
    if enrollment.is_to_be_renewed(Timestamp::now()) {
        renew(home, client, enrollment).await?;
    }
    Ok(())
}

/// Runs with the lock of the data folder, without holding up what else this thread does.
async fn locked<T: Send + 'static>(
    home: &Home,
    work: impl FnOnce(&Home) -> Result<T, HomeError> + Send + 'static,
) -> Result<T, HubError> {
    let home = home.clone();
    let blocking = move || {
        let _lock = home.lock()?;
        work(&home)
    };
    let done = tokio::task::spawn_blocking(blocking).await;
    done.map_err(|error| HubError::Client(error.to_string()))?
        .map_err(|error| HubError::Client(words(&error)))
}

/// Whether this server still belongs to that hub: an operator may have said `agent leave` meanwhile.
fn still(home: &Home, enrollment: &Enrollment) -> Result<bool, HomeError> {
    Ok(Enrollment::load(home, &Machine)?.is_some_and(|now| now.server == enrollment.server))
}
