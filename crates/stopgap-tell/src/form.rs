//! How a message looks: as text, as JSON, for Slack and for Teams. And how a webhook's body is signed. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Message;

/// Letters of a message's text; mail servers and chats have their own limits above that.
const MAX_TEXT: usize = 20_000;
/// Slack cuts a block's text at 3000.
const MAX_CHAT: usize = 2_900;

/// What a webhook takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The fields of [`Message`], signed.
    #[default]
    Stopgap,
    /// A message of Slack's incoming webhooks, which Mattermost and others take as well.
    Slack,
    /// A message with an Adaptive Card, as Teams takes it from "when a webhook request is received".
    Teams,
}

/// The first line of a mail.
pub fn subject(message: &Message, from: &str) -> String {
    let mark = if message.kind.is_alarming() { "! " } else { "" };
    line(&format!("[Stopgap {from}] {mark}{}", message.title))
}

/// A mail's text.
pub fn text(message: &Message, from: &str) -> String {
    let mut text = format!("{}\n", line(&message.title));
    if !message.text.is_empty() {
        text.push('\n');
        text.push_str(&plain(&message.text, MAX_TEXT));
        text.push('\n');
    }
    let when = if message.at == message.until {
        format!("{:.0}", message.at)
    } else {
        format!("{:.0} to {:.0}", message.at, message.until)
    };
    text.push_str(&format!("\n-- \n{}, {when}, from {from}\n", message.kind));
    text
}

/// A webhook's body. `delivery`: the same each time that this is sent again.
pub fn body(form: Form, message: &Message, from: &str, delivery: &str) -> Vec<u8> {
    let title = line(&message.title);
    let words = plain(&message.text, MAX_CHAT);
    let value: Value = match form {
        Form::Stopgap => json!({
            "version": 1,
            "delivery": delivery,
            "id": message.id,
            "event": message.kind,
            "from": from,
            "at": message.at,
            "until": message.until,
            "mitigation": Some(&message.object).filter(|object| !object.is_empty()),
            "count": message.count,
            "servers": message.servers,
            "title": title,
            "text": plain(&message.text, MAX_TEXT),
        }),
        Form::Slack => {
            let mark = if message.kind.is_alarming() { ":warning: " } else { "" };
            let mut blocks = vec![json!({"type": "section",
                "text": {"type": "mrkdwn", "text": format!("{mark}*{}*", escaped(&title))}})];
            if !words.is_empty() {
                // `plain_text`: what servers say is no markup.
                blocks.push(json!({"type": "section", "text": {"type": "plain_text", "text": words}}));
            }
            json!({"text": escaped(&format!("Stopgap {from}: {title}")), "blocks": blocks})
        }
        Form::Teams => {
            let color = if message.kind.is_alarming() { "attention" } else { "default" };
            let block = |text: &str, more: Value| {
                let mut block = json!({"type": "TextBlock", "text": marked(text), "wrap": true});
                if let (Some(block), Value::Object(more)) = (block.as_object_mut(), more) {
                    block.extend(more);
                }
                block
            };
            let mut parts = vec![block(&title, json!({"weight": "bolder", "color": color}))];
            parts.extend(words.lines().map(|line| block(line, json!({"spacing": "none"}))));
            parts.push(block(&format!("from {from}"), json!({"isSubtle": true, "size": "small"})));
            json!({"type": "message", "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard", "version": "1.4", "body": parts}}]})
        }
    };
    value.to_string().into_bytes()
}

/// The value of `Stopgap-Signature`: `t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 with the secret over the
/// seconds since 1970, a dot, and the body as it is sent. A receiver recomputes it and refuses what is old.
pub fn signature(secret: &[u8], body: &[u8], now: Timestamp) -> String {
    let seconds = now.as_second();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let mut context = ring::hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// One line, without what would end it, or steer a terminal or a reader's eye (control and direction marks).
fn line(text: &str) -> String {
    plain(text, 300).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(text: &str, most: usize) -> String {
    let steers = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
    };
    let kept = text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !steers(c));
    let mut kept: String = kept.take(most + 1).collect();
    if kept.chars().count() > most {
        kept = kept.chars().take(most).collect();
        kept.push('…');
    }
    kept
}

/// What Slack gives a meaning to, in text of its own markup.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.chars().filter(|c| !matches!(c, '*' | '_' | '`' | '~')).collect()
}

/// What Adaptive Cards take for Markdown.
fn marked(text: &str) -> String {
    let mut marked = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '`' | '<' | '>') {
            marked.push('\\');
        }
        marked.push(c);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn message(text: &str) -> Message {
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let said = [("web01".to_owned(), text.to_owned())];
        Message::about("7".into(), Kind::Failed, "example:M1", (at, at), &said, 0)
    }

    #[test]
    fn a_mail_is_one_subject_and_plain_text() {
        let message = message("nginx said:\r\nBcc: all@example.org\u{1b}[31m \u{202e}x");
        assert_eq!(subject(&message, "hub"), "[Stopgap hub] ! example:M1 could not be applied on web01");
        let text = text(&message, "hub");
        assert!(!text.contains(['\r', '\u{1b}', '\u{202e}']), "{text:?}");
        assert!(text.ends_with("failed, 2026-11-22T12:00:00Z, from hub\n"), "{text}");
    }

    #[test]
    fn each_form_is_what_its_receiver_takes() {
        let message = message("a <b> *c*");
        let of = |form| -> Value { serde_json::from_slice(&body(form, &message, "hub", "d1")).unwrap() };
        let own = of(Form::Stopgap);
        assert_eq!((own["event"].as_str(), own["mitigation"].as_str()), (Some("failed"), Some("example:M1")));
        assert_eq!((own["delivery"].as_str(), own["servers"][0].as_str()), (Some("d1"), Some("web01")));
        let slack = of(Form::Slack);
        assert_eq!(slack["blocks"][1]["text"]["type"], "plain_text");
        assert_eq!(
            slack["blocks"][0]["text"]["text"],
            ":warning: *example:M1 could not be applied on web01*"
        );
        let teams = of(Form::Teams);
        let card = &teams["attachments"][0]["content"];
        assert_eq!((card["type"].as_str(), card["version"].as_str()), (Some("AdaptiveCard"), Some("1.4")));
        assert_eq!(card["body"][1]["text"], "web01: a \\<b\\> \\*c\\*");
    }

    #[test]
    fn a_signature_is_the_hmac_that_anybody_can_recompute() {
        // `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature(b"key", b"{}", now), expected);
        assert_ne!(signature(b"other", b"{}", now), expected);
    }

    #[test]
    fn a_long_text_ends_with_a_mark() {
        let cut = plain(&"x".repeat(5000), 100);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (101, true));
    }
}
