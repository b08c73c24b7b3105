//! A message: one thing that happened, on one server or on many.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// Servers that a message names; of more it says how many there are.
pub const SERVERS_NAMED: usize = 20;

/// What is told. As JSON it is what waits in an outbox, and the body of a webhook has the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its identity.
    pub id: String,
    /// What happened.
    pub kind: Kind,
    /// To what: a mitigation as `feed:id`, or empty.
    #[serde(default)]
    pub object: String,
    /// When it happened first.
    pub at: Timestamp,
    /// And last.
    pub until: Timestamp,
    /// On how many servers.
    pub count: u64,
    /// The first of them by name, at most [`SERVERS_NAMED`].
    pub servers: Vec<String>,
    /// In one line.
    pub title: String,
    /// In lines; empty where the title says it all.
    pub text: String,
    /// A file, for whom it is sent by mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

/// A file beside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Comma-separated values (RFC 4180).
    pub csv: String,
}

impl Message {
    /// One thing on some servers: their names, with what each said. `more` says how many there are beside them.
    pub fn about(
        id: String,
        kind: Kind,
        object: &str,
        (at, until): (Timestamp, Timestamp),
        said: &[(String, String)],
        more: u64,
    ) -> Message {
        let count = more.saturating_add(said.len() as u64);
        let servers: Vec<String> = said.iter().take(SERVERS_NAMED).map(|(name, _)| name.clone()).collect();
        Message {
            title: title(kind, object, said, count),
            text: text(said, count),
            id,
            kind,
            object: object.to_owned(),
            at,
            until,
            count,
            servers,
            attachment: None,
        }
    }
}

fn title(kind: Kind, object: &str, said: &[(String, String)], count: u64) -> String {
    let says = kind.says();
    match (object, said) {
        ("", [(only, _)]) if count == 1 && kind == Kind::Reverted => format!("a change {says} on {only}"),
        ("", [(only, _)]) if count == 1 => format!("{only} {says}"),
        ("", _) if kind == Kind::Reverted => format!("a change {says} on {count} servers"),
        ("", _) => format!("{count} servers: each {says}"),
        (object, [(only, _)]) if count == 1 => format!("{object} {says} on {only}"),
        (object, _) => format!("{object} {says} on {count} servers"),
    }
}

/// A line for each server, and those that say the same in one line.
fn text(said: &[(String, String)], count: u64) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for (server, words) in said.iter().take(SERVERS_NAMED) {
        match lines.iter_mut().find(|(line, _)| line == words) {
            Some((_, servers)) => servers.push(server),
            None => lines.push((words.clone(), vec![server])),
        }
    }
    let mut text: Vec<String> = lines
        .into_iter()
        .map(|(words, servers)| {
            let servers = servers.join(", ");
            if words.is_empty() { servers } else { format!("{servers}: {words}") }
        })
        .collect();
    let named = said.len().min(SERVERS_NAMED) as u64;
    if count > named {
        text.push(format!("and {} more", count - named));
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: Kind, object: &str, said: &[(&str, &str)], more: u64) -> Message {
        let said: Vec<(String, String)> =
            said.iter().map(|(server, words)| ((*server).into(), (*words).into())).collect();
        let at = Timestamp::UNIX_EPOCH;
        Message::about("1".into(), kind, object, (at, at), &said, more)
    }

    #[test]
    fn one_server_is_named_and_many_are_counted() {
        let one = about(Kind::Applied, "example:M1", &[("web01", "proven")], 0);
        assert_eq!(one.title, "example:M1 is in force on web01");
        assert_eq!(one.text, "web01: proven");
        let said = [("web01", "proven"), ("web02", "not proven: no answer"), ("web03", "proven")];
        let three = about(Kind::Applied, "example:M1", &said, 9);
        assert_eq!((three.title.as_str(), three.count), ("example:M1 is in force on 12 servers", 12));
        assert_eq!(three.text, "web01, web03: proven\nweb02: not proven: no answer\nand 9 more");
        assert_eq!(about(Kind::Quiet, "", &[("web01", "")], 0).title, "web01 is not heard of");
        assert_eq!(
            about(Kind::Quiet, "", &[("a", ""), ("b", "")], 0).title,
            "2 servers: each is not heard of"
        );
    }

    #[test]
    fn of_many_servers_twenty_are_named() {
        let names: Vec<String> = (0..100).map(|n| format!("s{n:03}")).collect();
        let said: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let many = about(Kind::Failed, "example:M1", &said, 0);
        assert_eq!((many.servers.len(), many.count), (SERVERS_NAMED, 100));
        assert!(many.text.ends_with("\nand 80 more"), "{}", many.text);
    }
}
