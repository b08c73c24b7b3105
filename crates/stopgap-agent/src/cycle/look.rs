//! What the mitigations of this cycle ask the server for, beyond its facts.

use std::path::Path;
use std::sync::Arc;

use stopgap_core::facts::{Asked, Looked};

use super::{Cycle, Mode};
use crate::facts::{Place, look};
use crate::trust::CurrentFeed;

impl Cycle<'_> {
    /// Looks up what current feeds ask for, and what is in the ledger of others.
    pub(super) fn look(&mut self, feeds: &[CurrentFeed]) -> Arc<Looked> {
        let mut asked = Asked::default();
        for verified in feeds.iter().filter_map(|feed| feed.verified.as_ref()) {
            verified.document().mitigations.iter().for_each(|mitigation| asked.by(mitigation));
        }
        for entry in self.ledger.mitigations.values() {
            if let Ok(mitigation) = entry.mitigation() {
                asked.by(&mitigation);
            }
        }
        let place = Place {
            root: Path::new("/"),
            host: self.input.host,
            home: self.input.home,
            write: self.input.mode == Mode::Apply,
        };
        let (looked, wrong) = look(&place, self.input.facts, &asked);
        if let Some(error) = wrong {
            self.fail(format!("which versions were here before is not known: {}", super::words(&error)));
        }
        Arc::new(looked)
    }
}
