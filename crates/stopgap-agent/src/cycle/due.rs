//! When time alone changes something: the service then runs a cycle, and does not wait for the hour.

use jiff::{SignedDuration, Timestamp};
use stopgap_core::policy::Removal;
use stopgap_core::select::{Selected, Selection, Verdict, Wish};

use super::Cycle;

impl Cycle<'_> {
    /// The next such moment; the one that is over is this cycle's own.
    pub(super) fn due(&self, selection: &Selection) -> Option<Timestamp> {
        let now = self.input.now;
        let of_operator = self.policy.blocks.iter().filter_map(|block| block.until);
        let of_pause = [self.operator.paused(now).map(|pause| pause.until), self.policy.paused_until];
        let of_stops = self.waiting.as_ref().map(|waiting| waiting.until);
        let of_suspects = self.suspects(selection).next().filter(|_| self.progress).map(|_| {
            // Those that are tried alone follow each other.
            now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now)
        });
        let moments = selection.mitigations.iter().flat_map(|selected| self.moments(selected));
        moments
            .chain(of_operator)
            .chain(of_pause.into_iter().flatten())
            .chain(of_suspects)
            .chain(of_stops)
            .filter(|moment| *moment > now)
            .min()
    }

    fn moments(&self, selected: &Selected) -> impl Iterator<Item = Timestamp> {
        let turn = match selected.verdict {
            Verdict::Scheduled(turn) => Some(turn),
            _ => None,
        };
        let leaves = selected.fixed_since.and_then(|since| {
            let soak = i64::try_from(self.input.config.soak_seconds).ok()?;
            let held = self.ledger.mitigations.contains_key(&selected.key);
            (held && self.input.config.removal == Removal::Automatic)
                .then(|| since.checked_add(SignedDuration::from_secs(soak)).ok())?
        });
        let ends = selected.mitigation.expires.filter(|_| selected.wish != Wish::TakeOff);
        [turn, leaves, ends].into_iter().flatten()
    }
}
