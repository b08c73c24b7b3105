//! One feed: its addresses in order, what stands beside a document, and when to ask the next.
//!
//! The next address is asked where one does not answer, and where its document is refused: a mirror
//! that was left behind, or taken over, hides nothing that another has.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use stopgap_feed::cosignature::{MAX_COSIGNATURE_BYTES, MAX_COSIGNATURES, beside};
use stopgap_feed::{Presented, Refusal, RevocationMode, VerifiedFeed};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, warn};
use url::Url;

use super::failure::{Failure, Fault};
use super::http::{Brought, Leave};
use super::{Delivery, Fetched, Fetcher, Limits, Validators, file, parsed, without_secrets};
use crate::config::FeedConfig;
use crate::trust::{List, Standing, may_replace, merged};

/// A delivery, and what is wrong with its document.
struct Judged {
    delivery: Delivery,
    verdict: Result<VerifiedFeed, Refusal>,
}

impl Judged {
    /// Of two, one of which is to be kept: a document that is believed, then the higher serial.
    fn rank(&self) -> Option<u64> {
        self.verdict.as_ref().ok().map(|feed| feed.document().serial.unwrap_or(0))
    }
}

impl Fetcher {
    /// Asks the feed's addresses in order until one has a document that `standing` believes; what may
    /// pass is asked again, after waits that grow. Where no document is believed, the first that came is
    /// delivered, so that the cycle can say what is wrong with it.
    pub async fn fetch(&self, feed: &FeedConfig, standing: &Standing, now: Timestamp) -> Delivery {
        let deadline = Instant::now() + self.limits.feed;
        let mut waits = waits(&self.limits);
        let mut round: Vec<&str> =
            std::iter::once(&feed.url).chain(&feed.mirrors).map(String::as_str).collect();
        let mut failures: BTreeMap<String, Failure> = BTreeMap::new();
        let mut notes = Vec::new();
        let mut refused: Option<Delivery> = None;
        loop {
            let mut again = Vec::new();
            for address in round {
                let place = without_secrets(address);
                let asked = timeout_at(deadline, self.address(feed, address, standing, now)).await;
                match asked.unwrap_or_else(|_| Err(out_of_time(&self.limits))) {
                    Ok(Judged { delivery, verdict: Ok(_) }) => {
                        for (place, failure) in &failures {
                            warn!(feed = %feed.name, %place, %failure, "another address had to be asked");
                        }
                        return Delivery { notes, ..delivery };
                    }
                    Ok(Judged { delivery, verdict: Err(refusal) }) => {
                        warn!(feed = %feed.name, %place, code = refusal.code(), %refusal, "a document is refused");
                        // What is wrong with the one that is delivered, the cycle says itself.
                        if refused.is_some() {
                            notes.push(format!("{place}: {}: {refusal}", refusal.code()));
                        }
                        refused = refused.or(Some(delivery));
                        failures.remove(&place);
                    }
                    Err(failure) => {
                        debug!(%place, code = failure.fault.code(), "no answer");
                        if failure.passing {
                            again.push(address);
                        }
                        failures.insert(place, failure);
                    }
                }
            }
            round = again;
            match waits.next() {
                Some(wait) if !round.is_empty() && Instant::now() + wait < deadline => sleep(wait).await,
                _ => break,
            }
        }
        if let Some(delivery) = refused {
            notes.extend(failures.iter().map(|(place, failure)| format!("{place}: {failure}")));
            return Delivery { notes, ..delivery };
        }
        Delivery::from(Fetched::Failed(all(feed, &failures)))
    }

    async fn address(
        &self,
        feed: &FeedConfig,
        address: &str,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<Judged, Failure> {
        let url = parsed(address)?;
        if url.scheme() == "file" {
            return self.read_disk(&url, standing, now).await;
        }
        let validators = standing.validators().filter(|validators| validators.are_of(address));
        let leave = Leave::of(feed.redirects_to_private);
        let url_of_document = url.clone();
        let came = self.get(url, leave, validators, self.limits.document).await?;
        let fetched = match came.brought {
            Brought::Unchanged => Fetched::Unchanged,
            Brought::Octets(bytes, validators) => {
                Fetched::Document { bytes, validators: validators.by(address) }
            }
        };
        let mut delivery = Delivery { events: came.events, ..Delivery::from(fetched) };
        let mut cosignatures = Vec::new();
        let asked = self.cosignatures(feed, address, standing, &mut cosignatures);
        // What came in time is kept: the others are not there, as far as we know.
        let _ = timeout(self.limits.beside, asked).await;
        delivery.cosignatures = cosignatures;
        if standing.trust.revocation != RevocationMode::Off {
            let mut lists = Vec::new();
            // Whoever may sign a feed of the internet sends no server to its own network.
            let leave = if came.anywhere { Leave::Anywhere } else { Leave::Internet };
            let asked = self.lists(&url_of_document, leave, standing, &delivery, now, &mut lists);
            let _ = timeout(self.limits.beside, asked).await;
            delivery.lists = lists;
        }
        judged(standing, delivery, now)
    }

    /// The co-signatures beside a document; what is not there is left out.
    async fn cosignatures(
        &self,
        feed: &FeedConfig,
        address: &str,
        standing: &Standing,
        found: &mut Vec<Vec<u8>>,
    ) {
        for number in 1..=standing.trust.cosigners.len().min(MAX_COSIGNATURES) {
            let place = beside(address, number);
            match self.octets(&place, MAX_COSIGNATURE_BYTES, feed.redirects_to_private).await {
                Ok(answer) => found.push(answer.bytes),
                Err(failure) => debug!(place = %without_secrets(&place), %failure, "no co-signature"),
            }
        }
    }

    /// The lists that the certificates of a document's signers name, where what is kept is not of the
    /// last hour, or does not answer, or a new release is to be judged by it. Only certificates whose path was verified are asked for addresses.
    async fn lists(
        &self,
        of: &Url,
        leave: Leave,
        standing: &Standing,
        delivery: &Delivery,
        now: Timestamp,
        found: &mut Vec<List>,
    ) {
        let Some(document) = standing.presented(delivery) else { return };
        let Ok(points) = standing.points(&document.as_presented(), now) else { return };
        let kept = merged(&standing.lists, &[]);
        let unknown = matches!(standing.judge(&document.as_presented(), &kept, now), Err(refusal) if refusal.code().starts_with("crl-"));
        // Whoever stole a key signs something new with it; what is known already was judged before.
        let is_new = standing.kept.as_ref().is_none_or(|kept| kept.bytes != document.as_presented().feed);
        for point in points {
            let old = standing.lists.iter().find(|list| list.source == point);
            if old.is_some_and(|old| old.is_fresh(now, unknown || is_new)) {
                continue;
            }
            let mut asked = Err(Failure::new(Fault::Unreachable, "no mirror"));
            // Who has the document from the hub may have no way to the internet.
            if let Some(mirror) = self.mirror.as_ref().filter(|mirror| mirror.way(of).is_some()) {
                asked = match mirror.list(&point) {
                    Some(place) => self.list(&point, place, old, Leave::FromOperator, now).await,
                    None => asked,
                };
            }
            if asked.is_err() {
                asked = match parsed(&point) {
                    Ok(place) => self.list(&point, place, old, leave, now).await,
                    Err(failure) => Err(failure),
                };
            }
            match asked {
                Ok(list) => {
                    if may_replace(standing, &document.as_presented(), old, &list, now) {
                        found.push(list);
                    }
                }
                Err(failure) if failure.fault == Fault::RedirectPrivate => {
                    warn!(place = %without_secrets(&point), %failure, "a revocation list is not asked for");
                }
                Err(failure) => debug!(place = %without_secrets(&point), %failure, "no revocation list"),
            }
        }
    }

    /// The list of a distribution point, as it is at `place`.
    async fn list(
        &self,
        point: &str,
        place: Url,
        old: Option<&List>,
        leave: Leave,
        now: Timestamp,
    ) -> Result<List, Failure> {
        let from = place.to_string();
        let validators = old.map(|old| &old.validators).filter(|validators| validators.are_of(&from));
        let came = self.get(place, leave, validators, self.limits.list).await?;
        match (came.brought, old) {
            (Brought::Octets(bytes, validators), _) => Ok(List::new(point, bytes, validators.by(&from), now)),
            (Brought::Unchanged, Some(old)) => Ok(List { fetched_at: now, ..old.clone() }),
            (Brought::Unchanged, None) => Err(Failure::new(Fault::UnchangedOfNothing, "nothing is kept")),
        }
    }

    /// A file, or the document of a folder that is believed and has the highest serial. Nobody on the
    /// network is asked for lists: such a server may have none.
    async fn read_disk(&self, url: &Url, standing: &Standing, now: Timestamp) -> Result<Judged, Failure> {
        let mut best: Option<Judged> = None;
        let mut unread = None;
        let lists = if standing.trust.revocation == RevocationMode::Off {
            Vec::new()
        } else {
            file::lists(url).await?
        };
        let lists: Vec<List> = lists
            .into_iter()
            .map(|(url, bytes)| List::new(url.as_str(), bytes, Validators::default(), now))
            .filter(List::has_its_form)
            .collect();
        for place in file::documents(url, self.limits.folder).await? {
            let bytes = match file::read(&place, self.limits.document).await {
                Ok(bytes) => bytes,
                Err(failure) => {
                    unread = unread.or(Some(failure.at(&without_secrets(place.as_str()))));
                    continue;
                }
            };
            let fetched = Fetched::Document { bytes, validators: Validators::default() };
            let mut delivery = Delivery::from(fetched);
            for number in 1..=standing.trust.cosigners.len().min(MAX_COSIGNATURES) {
                let beside = parsed(&beside(place.as_str(), number))?;
                let read = file::read(&beside, MAX_COSIGNATURE_BYTES).await.ok();
                delivery.cosignatures.extend(read.filter(|octets| has_the_form_of_a_cosignature(octets)));
            }
            if let Some(document) = standing.presented(&delivery) {
                delivery.lists = lists_to_keep(standing, &document.as_presented(), &lists, now);
            }
            let next = judged(standing, delivery, now)?;
            if best.as_ref().is_none_or(|best| best.rank() < next.rank()) {
                best = Some(next);
            }
        }
        best.ok_or_else(|| unread.unwrap_or_else(|| Failure::new(Fault::File, "there is no document")))
    }
}

/// Those of a folder that may take the place of what is kept, as those of the network may. One that is
/// here already stays as it is.
fn lists_to_keep(standing: &Standing, document: &Presented<'_>, lists: &[List], now: Timestamp) -> Vec<List> {
    let mut all = Vec::new();
    for list in lists {
        let old = standing.lists.iter().find(|old| old.source == list.source);
        if let Some(same) = old.filter(|old| old.bytes == list.bytes) {
            all.push(same.clone());
        } else if may_replace(standing, document, old, list, now) {
            all.push(list.clone());
        }
    }
    all
}

/// What is beside a document in a folder may be a link to any file of this machine; what is kept is for
/// everybody to read.
fn has_the_form_of_a_cosignature(octets: &[u8]) -> bool {
    const ROOT: &[u8] = b"Cosignature";
    octets.trim_ascii_start().starts_with(b"<") && octets.windows(ROOT.len()).any(|words| words == ROOT)
}

fn judged(standing: &Standing, delivery: Delivery, now: Timestamp) -> Result<Judged, Failure> {
    let lists = merged(&standing.lists, &delivery.lists);
    let nothing = || Failure::new(Fault::UnchangedOfNothing, "not modified, but nothing is kept here");
    let document = standing.presented(&delivery).ok_or_else(nothing)?;
    let verdict = standing.judge(&document.as_presented(), &lists, now);
    Ok(Judged { delivery, verdict })
}

/// Exponential, and each a random part of itself: a fleet that lost its feed in one moment must not
/// come back in one moment.
fn waits(limits: &Limits) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(limits.first_wait)
        .with_factor(3.0)
        .with_max_times(limits.attempts.saturating_sub(1))
        .build()
        .map(|longest| longest.mul_f64(fastrand::f64()))
}

fn out_of_time(limits: &Limits) -> Failure {
    let message = format!("no time left: all addresses together have {} s", limits.feed.as_secs_f64());
    Failure::new(Fault::TooSlow, message)
}

/// One failure for all: the code of the first address's, and every sentence.
fn all(feed: &FeedConfig, failures: &BTreeMap<String, Failure>) -> Failure {
    let places = std::iter::once(&feed.url).chain(&feed.mirrors).map(|address| without_secrets(address));
    let told: Vec<(String, &Failure)> =
        places.filter_map(|place| failures.get(&place).map(|failure| (place, failure))).collect();
    let fault = told.first().map_or(Fault::Unreachable, |(_, failure)| failure.fault);
    let words = |(place, failure): &(String, &Failure)| format!("{place}: {}", failure.message);
    Failure::new(fault, told.iter().map(words).collect::<Vec<_>>().join("; "))
}
