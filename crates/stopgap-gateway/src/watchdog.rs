//! When a connection has waited too long. Pure: it is asked at every tick, and counts ticks.
//!
//! One coarse timer for a connection, instead of one for each wait, keeps timers off the path of a
//! request. A limit is met between once and one and a quarter times its length.

use std::time::Duration;

use crate::settings::Limits;
use crate::state::{ConnectionState, Waiting};

#[derive(Debug)]
pub(crate) struct Watchdog {
    tick: Duration,
    waiting: Waiting,
    activity: u32,
    requests: u64,
    quiet: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Fine,
    /// The origin gave no response head in time: 504.
    OriginSilent,
    /// End the connection.
    TooLong(Waiting),
}

impl Watchdog {
    pub(crate) fn new(limits: &Limits) -> Self {
        let shortest = limits.head.min(limits.keep_alive).min(limits.client).min(limits.origin);
        let tick = (shortest / 4).clamp(Duration::from_millis(1), Duration::from_secs(5));
        Watchdog { tick, waiting: Waiting::Head, activity: 0, requests: 0, quiet: Duration::ZERO }
    }

    pub(crate) fn tick(&self) -> Duration {
        self.tick
    }

    /// To be called once a tick.
    pub(crate) fn check(&mut self, state: &ConnectionState, limits: &Limits) -> Finding {
        let (waiting, activity, requests) = (state.waiting(), state.activity(), state.requests());
        let same_wait = waiting == self.waiting && requests == self.requests;
        // A head that trickles in is as slow as one that does not come.
        let progress = activity != self.activity && waiting != Waiting::Head;
        if same_wait && !progress {
            self.quiet += self.tick;
        } else {
            self.quiet = Duration::ZERO;
        }
        (self.waiting, self.activity, self.requests) = (waiting, activity, requests);
        let limit = match waiting {
            Waiting::Head => limits.head,
            Waiting::KeepAlive => limits.keep_alive,
            Waiting::Client => limits.client,
            Waiting::OriginHead | Waiting::OriginBody => limits.origin,
        };
        if self.quiet < limit {
            Finding::Fine
        } else if waiting == Waiting::OriginHead {
            Finding::OriginSilent
        } else {
            Finding::TooLong(waiting)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Owed;
    use std::sync::Arc;

    fn limits() -> Limits {
        Limits {
            head: Duration::from_secs(8),
            keep_alive: Duration::from_secs(80),
            client: Duration::from_secs(16),
            origin: Duration::from_secs(40),
            ..Limits::default()
        }
    }

    /// Ticks until the watchdog barks, with `each` done before every one.
    fn ticks(state: &Arc<ConnectionState>, mut each: impl FnMut()) -> (u32, Finding) {
        let mut watchdog = Watchdog::new(&limits());
        assert_eq!(watchdog.tick(), Duration::from_secs(2));
        for tick in 1..1000 {
            each();
            match watchdog.check(state, &limits()) {
                Finding::Fine => {}
                finding => return (tick, finding),
            }
        }
        (1000, Finding::Fine)
    }

    #[test]
    fn each_wait_has_its_own_limit() {
        let state = Arc::new(ConnectionState::default());
        assert_eq!(ticks(&state, || ()), (4, Finding::TooLong(Waiting::Head)));
        let (flight, _) = state.begin();
        assert_eq!(ticks(&state, || ()), (21, Finding::OriginSilent));
        flight.relays();
        assert_eq!(ticks(&state, || ()), (21, Finding::TooLong(Waiting::OriginBody)));
        state.wrote(false);
        assert_eq!(ticks(&state, || ()), (9, Finding::TooLong(Waiting::Client)));
        state.wrote(true);
        drop(flight);
        assert_eq!(ticks(&state, || ()), (41, Finding::TooLong(Waiting::KeepAlive)));
        state.owes(Owed::Body);
        assert_eq!(ticks(&state, || ()), (9, Finding::TooLong(Waiting::Client)));
    }

    #[test]
    fn progress_counts_but_not_of_a_head() {
        let state = Arc::new(ConnectionState::default());
        assert_eq!(ticks(&state, || state.touch()), (4, Finding::TooLong(Waiting::Head)));
        drop(state.begin());
        assert_eq!(ticks(&state, || state.touch()), (1000, Finding::Fine));
        state.owes(Owed::Head);
        assert_eq!(ticks(&state, || state.touch()), (5, Finding::TooLong(Waiting::Head)));
        state.owes(Owed::Body);
        assert_eq!(ticks(&state, || state.touch()), (1000, Finding::Fine));
    }

    #[test]
    fn a_new_request_begins_a_new_wait() {
        let state = Arc::new(ConnectionState::default());
        assert_eq!(ticks(&state, || drop(state.begin())), (1000, Finding::Fine));
    }
}
