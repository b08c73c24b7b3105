//! The parts of one meeting with the hub, each of which ends with what is on the disk.

use jiff::Timestamp;
use stopgap_core::wire::{MAX_STEP, Reports};
use stopgap_drivers::Machine;

use super::{locked, still};
use crate::config::{Config, NetworkConfig};
use crate::cycle::words;
use crate::events::Event;
use crate::home::Home;
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
        Ok(accepted) if accepted.through.saturating_sub(newest) > MAX_STEP => 0,
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
    if !is_progress(newest, accepted.through) {
        // To tell it again at once would never end.
        return Err(HubError::Unreadable(format!(
            "it keeps reports through {}, expected {newest}",
            accepted.through
        )));
    }
    Ok(said.is_some_and(|said| said.settings.version != accepted.settings))
}

/// Whether a hub that was told everything through `newest` keeps it, or a little more: it may know this server from
/// before its disk was put back.
fn is_progress(newest: u64, through: u64) -> bool {
    through.checked_sub(newest).is_some_and(|more| more <= MAX_STEP)
}

/// Another credential. It is on the disk before it is used; until it was used the one before works.
pub(super) async fn renew(home: &Home, client: &Client, enrollment: &Enrollment) -> Result<(), HubError> {
    let renewed = client.renew().await?;
    let before = enrollment.clone();
    let after = succeeded(&before, renewed.credential);
    locked(home, move |home| if still(home, &before)? { after.save(home, &Machine) } else { Ok(()) }).await
}

/// The same with another credential; the one that it had is the former.
fn succeeded(before: &Enrollment, credential: String) -> Enrollment {
    let former = Some(before.credential.clone());
    Enrollment { credential, credential_since: Timestamp::now(), former, ..before.clone() }
}

/// After the hub refused this server's credential: whether it takes the one before, as a hub does that was restored
/// from a backup. Then that one is kept, and renewed in its time; nothing is written where it is refused, too.
pub(super) async fn fall_back(home: &Home, network: &NetworkConfig, enrollment: &Enrollment) -> bool {
    let Some(former) = enrollment.former.clone() else { return false };
    let after = succeeded(enrollment, former);
    let Ok(client) = Client::new(&after, network) else { return false };
    if client.settings(None).await.is_err() {
        return false;
    }
    let before = enrollment.clone();
    let save = move |home: &Home| {
        let stays = still(home, &before)?;
        if stays {
            after.save(home, &Machine)?;
        }
        Ok(stays)
    };
    let kept = locked(home, save).await.unwrap_or(false);
    if kept {
        let detail = "the hub knows this server by the credential before the present one, as after a backup was \
                      restored: that one is used again";
        Event::Hub { detail: detail.into() }.log();
    }
    kept
}

/// Keeps how the hub was met; it is written where that is another way than before, and once an hour.
pub(super) async fn in_touch(
    home: &Home,
    enrollment: &Enrollment,
    failed: Option<&HubError>,
) -> Result<(), HubError> {
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
    let passed = now.duration_since(heard_at).abs() > jiff::SignedDuration::from_mins(50);
    let same =
        before.as_ref().is_some_and(|b| (&b.error, b.silent_since) == (&after.error, after.silent_since));
    if same && (failed.is_some() || !passed) {
        return Ok(());
    }
    let enrollment = enrollment.clone();
    // A cycle that restarts services has the lock for minutes.
    locked(home, move |home| if still(home, &enrollment)? { after.save(home, &Machine) } else { Ok(()) })
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hub_that_keeps_less_than_it_was_told_or_more_than_there_is_makes_no_progress() {
        let found = [(7, 7), (7, 9), (7, 6), (7, 0), (7, u64::MAX)]
            .map(|(newest, through)| is_progress(newest, through));
        assert_eq!(found, [true, true, false, false, false]);
    }

    /// Takes the credential `taken` alone.
    async fn hub_that_takes(taken: &'static str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
                let (status, body) = match head.contains(&format!("Bearer {taken}\r\n")) {
                    true => ("200 OK", r#"{"version":"1","organization_enabled":true}"#),
                    false => ("401 Unauthorized", "{}"),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_hub_that_was_restored_from_a_backup_is_met_with_the_credential_that_it_knows() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        let network = NetworkConfig::default();
        let enrolled = Enrollment {
            hub: hub_that_takes("first").await,
            server: "1".into(),
            credential: "first".into(),
            credential_since: Timestamp::UNIX_EPOCH,
            former: None,
            ca: None,
        };
        let renewed = succeeded(&enrolled, "second".into());
        renewed.save(&home, &Machine).unwrap();
        let kept = || Enrollment::load(&home, &Machine).unwrap().unwrap();
        assert!(fall_back(&home, &network, &renewed).await);
        assert_eq!((kept().credential.as_str(), kept().former.as_deref()), ("first", Some("second")));
        // A hub that knows neither changes nothing, however often it is asked.
        let elsewhere = Enrollment { hub: hub_that_takes("another").await, ..renewed };
        elsewhere.save(&home, &Machine).unwrap();
        assert!(!fall_back(&home, &network, &elsewhere).await);
        assert_eq!(kept(), elsewhere);
    }

    #[tokio::test]
    async fn a_cycle_that_has_the_lock_holds_up_nothing_else_of_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        let enrollment = Enrollment {
            hub: "http://127.0.0.1:1".into(),
            server: "1".into(),
            credential: "secret".into(),
            credential_since: Timestamp::UNIX_EPOCH,
            former: None,
            ca: None,
        };
        enrollment.save(&home, &Machine).unwrap();
        let lock = home.lock().unwrap();
        let mut met = std::pin::pin!(in_touch(&home, &enrollment, None));
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut met).await;
        assert!(waits.is_err());
        drop(lock);
        met.await.unwrap();
        assert!(Contact::load(&home, &Machine).unwrap().is_some());
    }
}
