//! Telling people what happens to their servers: what is worth telling, in which words, and how it is sent.
//!
//! ```text
//! two reports ──> happening (pure) ──> Message ──> form (pure) ──> mail (SMTP), webhook (HTTP)
//! ```
//!
//! The machine's own log is in `log`: the last line of every service.
//!
//! The hub and an agent without a hub share all of this, so that they say the same. Not in this crate: where
//! messages wait and when they are sent again (the hub's outbox, the agent's), and what the hub makes of a
//! server that says nothing.

pub mod form;
pub mod happening;
mod kind;
pub mod log;
mod mail;
mod message;
pub mod settings;
mod table;
mod way;
mod webhook;

use std::time::Duration;

pub use kind::Kind;
pub use message::{Attachment, Message, SERVERS_NAMED};
pub use settings::{Notify, Receivers, SettingsError};
pub use table::table;
pub use way::Proxy;

/// How long one attempt to send may take, with the connection: a receiver that hangs must not hold up others.
pub const ATTEMPT: Duration = Duration::from_secs(60);

/// Why something was not sent, in words. They name no secret: no password, no address of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SendError(pub String);

/// Who is told.
#[derive(Debug, Clone, Copy)]
pub enum Receiver<'a> {
    /// Everybody in `[mail]`.
    Mail(&'a settings::Mail),
    /// One `[[webhook]]`.
    Webhook(&'a settings::Webhook),
}

impl Receiver<'_> {
    /// Its name: `mail`, or `webhook NAME`.
    pub fn name(&self) -> String {
        match self {
            Receiver::Mail(_) => "mail".to_owned(),
            Receiver::Webhook(webhook) => format!("webhook {}", webhook.name),
        }
    }

    /// Whether it is told of this.
    pub fn wants(&self, kind: Kind) -> bool {
        let events = match self {
            Receiver::Mail(mail) => &mail.events,
            Receiver::Webhook(webhook) => &webhook.events,
        };
        kind == Kind::Test || events.as_ref().is_none_or(|events| events.contains(&kind))
    }

    /// Sends it once. `delivery` is a text that stays the same when this is sent again, so that a receiver
    /// can tell. `now` is signed into a webhook's request.
    pub async fn send(
        &self,
        message: &Message,
        delivery: &str,
        now: jiff::Timestamp,
    ) -> Result<(), SendError> {
        match self {
            Receiver::Mail(mail) => mail::send(mail, message, delivery, now).await,
            Receiver::Webhook(webhook) => webhook::send(webhook, message, delivery, now).await,
        }
    }
}

/// When to try again after the attempt number `tries`, from 1 on: anywhere between nothing and twice as long as
/// before ("full jitter": receivers that were down must not meet all at once), never beyond an hour.
/// `part`: a random number in 0..1.
pub fn again_after(first: Duration, tries: u32, part: f64) -> Duration {
    const MOST: Duration = Duration::from_secs(3600);
    let longest = first.saturating_mul(1_u32 << tries.clamp(1, 20)).min(MOST);
    longest.mul_f64(part.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_end_at_an_hour() {
        let first = Duration::from_secs(30);
        assert_eq!(again_after(first, 1, 1.0), Duration::from_secs(60));
        assert_eq!(again_after(first, 2, 1.0), Duration::from_secs(120));
        assert_eq!(again_after(first, 2, 0.0), Duration::ZERO);
        assert_eq!(again_after(first, 4_000_000_000, 1.0), Duration::from_secs(3600));
    }
}
