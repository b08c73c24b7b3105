//! The parts of one meeting with the hub, each of which ends with what is on the disk.

use jiff::Timestamp;
use stopgap_core::wire::Reports;
use stopgap_drivers::Machine;

use super::{locked, still};
use crate::config::Config;
use crate::cycle::words;
use crate::events::Event;
use crate::home::{Home, HomeError};
use crate::hub::books::Books;
use crate::hub::client::{Client, HubError};
use crate::hub::contact::Contact;
use crate::hub::enrollment::Enrollment;
use crate::hub::machine;
use crate::hub::said::Said;

/// Asks what the organization wants, and keeps it. Whether it is something else than before.
pub(super) async fn ask(home: &Home, client: &Client, enrollment: &Enrollment) -> Result<bool, HubError> {
    // What is damaged is replaced by what is asked anew.
    let kept = Said::load(home, &Machine).ok().flatten();
    let version = kept.as_ref().map(|said| said.settings.version.as_str());
    let Some(settings) = client.settings(version).await? else { return Ok(false) };
    let said = Said { settings, received_at: Timestamp::now() };
    let news = kept.is_none_or(|kept| kept.settings != said.settings);
    let enrollment = enrollment.clone();
    let save = move |home: &Home| {
        let stays = still(home, &enrollment)?;
        if stays {
            said.save(home, &Machine)?;
        }
        Ok(stays)
    };
    Ok(locked(home, save).await? && news)
}

/// Tells what waits. Whether the hub has other settings than those that are kept.
pub(super) async fn tell(
    home: &Home,
    client: &Client,
    config: &Config,
    enrollment: &Enrollment,
) -> Result<bool, HubError> {
    let books = Books::load(home, &Machine).map_err(|error| HubError::Client(words(&error)))?;
    if books.waiting.is_empty() {
        return Ok(false);
    }
    let reports = Reports { machine: machine::identity(&config.server), reports: books.waiting };
    let newest = reports.reports.last().map_or(0, |report| report.sequence);
    let answer = client.report(&reports).await;
    let enrollment = enrollment.clone();
    // What the hub will never take must not keep it from what comes after.
    let never = matches!(answer, Err(HubError::Refused { status: 400 | 413 | 422, .. }));
    let through = match &answer {
        Ok(accepted) => accepted.through,
        Err(_) if never => newest,
        Err(_) => 0,
    };
    if !never && answer.is_err() {
        return answer.map(|_| false);
    }
    let drop_kept = move |home: &Home| {
        if !still(home, &enrollment)? {
            return Ok(None);
        }
        let mut books = Books::load(home, &Machine)?;
        books.kept(through);
        books.save(home, &Machine)?;
        Said::load(home, &Machine)
    };
    let said = locked(home, drop_kept).await?;
    let accepted = answer?;
    Ok(said.is_some_and(|said| said.settings.version != accepted.settings))
}

/// Another credential. It is on the disk before it is used; until it was used the one before works.
pub(super) async fn renew(home: &Home, client: &Client, enrollment: &Enrollment) -> Result<(), HubError> {
    let renewed = client.renew().await?;
    let before = enrollment.clone();
    let after =
        Enrollment { credential: renewed.credential, credential_since: Timestamp::now(), ..before.clone() };
    locked(home, move |home| if still(home, &before)? { after.save(home, &Machine) } else { Ok(()) }).await
}

/// Keeps how the hub was met; it is written where that is another way than before, and once an hour.
pub(super) fn in_touch(
    home: &Home,
    enrollment: &Enrollment,
    failed: Option<&HubError>,
) -> Result<(), HomeError> {
    let now = Timestamp::now();
    let before = Contact::load(home, &Machine).ok().flatten();
    let silent_since = before.as_ref().and_then(|before| before.silent_since);
    let heard_at = before.as_ref().map_or(now, |before| before.heard_at);
    let error = failed.map(|error| words(error));
    let after = Contact {
        hub: enrollment.hub.clone(),
        server: enrollment.server.clone(),
        heard_at: if failed.is_none() { now } else { heard_at },
        silent_since: failed.map(|_| silent_since.unwrap_or(now)),
        error: error.clone(),
    };
    match (&error, silent_since) {
        (Some(error), None) => {
            let detail = format!("{error}; what it said last goes on counting");
            Event::Hub { detail }.log();
        }
        (None, Some(since)) => {
            Event::Hub { detail: format!("the hub answers again, after silence since {since:.0}") }.log();
        }
        _ => {}
    }
    let passed = now.duration_since(heard_at) > jiff::SignedDuration::from_mins(50);
    let same =
        before.as_ref().is_some_and(|b| (&b.error, b.silent_since) == (&after.error, after.silent_since));
    if same && (failed.is_some() || !passed) {
        return Ok(());
    }
    let _lock = home.lock()?;
    if still(home, enrollment)? { after.save(home, &Machine) } else { Ok(()) }
}
