//! `[notify]`, `[mail]` and `[[webhook]]`, of `hub.toml` and of an agent's `stopgap.toml`: read and checked at the start,
//! so that a mistake is not found when something burns.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Time;
use lettre::message::Mailbox;
use serde::Deserialize;
use url::Url;

use crate::form::Form;
use crate::{Kind, Proxy, Receiver};

/// Receivers of one kind; a list that is longer is a mistake.
const MAX_RECEIVERS: usize = 50;
/// A password, an address, a few certificates.
const MAX_FILE: u64 = 256 * 1024;
/// Letters of a secret; shorter ones are guessed.
const MIN_SECRET: usize = 16;

/// The three tables, as they stand in a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct File {
    /// `[notify]`.
    #[serde(default)]
    pub notify: Notify,
    /// `[mail]`.
    #[serde(default)]
    pub mail: Option<MailTable>,
    /// `[[webhook]]`.
    #[serde(default)]
    pub webhook: Vec<WebhookTable>,
}

/// `[notify]`: when things are told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Who speaks, in each message.
    pub name: Option<String>,
    /// The same on several servers within this time is one message.
    pub window: SignedDuration,
    /// The same again waits so long since the last message of it.
    pub repeat: SignedDuration,
    /// About when an attempt that failed is repeated; each further one later.
    pub retry: SignedDuration,
    /// When nobody tries any longer.
    pub give_up: SignedDuration,
    /// The hub: a server that is not heard of for so long is quiet.
    pub quiet_after: SignedDuration,
    /// The hub: when the digest is sent, in UTC: `"06:00"`, or `"off"`.
    pub digest: Daily,
    /// The hub: how often the table of all servers is sent, with the digest.
    pub report: Often,
}

impl Default for Notify {
    fn default() -> Self {
        Notify {
            name: None,
            window: SignedDuration::from_mins(1),
            repeat: SignedDuration::from_mins(15),
            retry: SignedDuration::from_secs(30),
            give_up: SignedDuration::from_hours(24),
            quiet_after: SignedDuration::from_hours(3),
            digest: Daily(Some(Time::constant(6, 0, 0, 0))),
            report: Often::Off,
        }
    }
}

impl Notify {
    /// [`Notify::retry`], for who waits.
    pub fn retry_first(&self) -> Duration {
        self.retry.unsigned_abs().max(Duration::from_millis(10))
    }
}

/// A time of the day, in UTC; `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Daily(pub Option<Time>);

impl TryFrom<String> for Daily {
    type Error = String;

    fn try_from(text: String) -> Result<Daily, String> {
        if text == "off" {
            return Ok(Daily(None));
        }
        let time =
            text.parse().map_err(|_| format!("{text:?}: expected a time such as \"06:00\", or \"off\""));
        time.map(|time| Daily(Some(time)))
    }
}

/// How often a report is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Often {
    /// Never.
    #[default]
    Off,
    /// Each day.
    Daily,
    /// Mondays.
    Weekly,
    /// On the first of a month.
    Monthly,
}

/// `[mail]` as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/notifications.md has each key")]
pub struct MailTable {
    pub server: String,
    pub port: Option<u16>,
    #[serde(default)]
    pub security: Security,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub from: String,
    pub to: Vec<String>,
    pub events: Option<BTreeSet<Kind>>,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS after a greeting in the clear (STARTTLS); nothing is sent without.
    #[default]
    StartTls,
    /// TLS from the first octet.
    Tls,
    /// None: on this machine alone.
    None,
}

/// `[[webhook]]` as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/notifications.md has each key")]
pub struct WebhookTable {
    pub name: String,
    pub url: Option<String>,
    pub url_file: Option<PathBuf>,
    #[serde(default)]
    pub form: Form,
    pub secret_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<String>,
    pub events: Option<BTreeSet<Kind>>,
}

/// What nobody may read in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Secret {
        Secret(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// `[mail]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub(crate) server: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) credentials: Option<(String, Secret)>,
    pub(crate) authorities: Option<String>,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) events: Option<BTreeSet<Kind>>,
    pub(crate) sender: String,
}

/// `[[webhook]]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub(crate) name: String,
    pub(crate) url: Secret,
    pub(crate) is_local: bool,
    pub(crate) form: Form,
    pub(crate) secret: Option<Secret>,
    pub(crate) authorities: Option<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) events: Option<BTreeSet<Kind>>,
    pub(crate) sender: String,
}

/// Everybody who is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receivers {
    /// When things are told.
    pub notify: Notify,
    mail: Option<Mail>,
    webhooks: Vec<Webhook>,
}

/// What is wrong with one of the tables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    /// `[mail]`, `[[webhook]] chat`.
    pub place: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl Receivers {
    /// Reads what the tables name. Files are found from `folder`; `sender` is who speaks: the hub's or the server's
    /// name.
    pub fn read(file: &File, folder: &Path, sender: &str) -> Result<Receivers, SettingsError> {
        let at = |place: &str, problem: String| SettingsError { place: place.to_owned(), problem };
        for (key, value, least) in [
            ("window", file.notify.window, 0),
            ("repeat", file.notify.repeat, 0),
            ("retry", file.notify.retry, 0),
            ("give_up", file.notify.give_up, 0),
            ("quiet_after", file.notify.quiet_after, 1),
        ] {
            if value.as_secs() < least || value.is_negative() {
                return Err(at(
                    "[notify]",
                    format!("{key} is {value:#}: expected a duration such as \"15m\""),
                ));
            }
        }
        if file.webhook.len() > MAX_RECEIVERS {
            let found = file.webhook.len();
            return Err(at("[[webhook]]", format!("{found} of them: expected at most {MAX_RECEIVERS}")));
        }
        let mail = file
            .mail
            .as_ref()
            .map(|table| mail(table, folder, sender).map_err(|problem| at("[mail]", problem)));
        let mut webhooks: Vec<Webhook> = Vec::new();
        for table in &file.webhook {
            let place = format!("[[webhook]] {}", table.name);
            let read = webhook(table, folder, sender).map_err(|problem| at(&place, problem))?;
            if webhooks.iter().any(|other| other.name == read.name) {
                return Err(at(&place, "there are two of this name".into()));
            }
            webhooks.push(read);
        }
        Ok(Receivers { notify: file.notify.clone(), mail: mail.transpose()?, webhooks })
    }

    /// The same where webhooks that name no proxy are reached through the one that `way` says for their address, if
    /// any. This machine is reached without one, and so are mail servers, which a proxy for HTTP is not for.
    #[must_use]
    pub fn through(mut self, way: impl Fn(&Url) -> Option<Proxy>) -> Receivers {
        for webhook in self.webhooks.iter_mut().filter(|one| !one.is_local && one.proxy.is_none()) {
            // It was read once.
            webhook.proxy = Url::parse(webhook.url.expose()).ok().and_then(|url| way(&url));
        }
        self
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Receiver<'_>> {
        let mail = self.mail.as_ref().map(Receiver::Mail);
        mail.into_iter().chain(self.webhooks.iter().map(Receiver::Webhook))
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<Receiver<'_>> {
        self.all().find(|receiver| receiver.name() == name)
    }

    /// Whether there is nobody to tell.
    pub fn is_empty(&self) -> bool {
        self.mail.is_none() && self.webhooks.is_empty()
    }
}

fn mail(table: &MailTable, folder: &Path, sender: &str) -> Result<Mail, String> {
    let mailbox = |key: &str, text: &str| {
        text.parse::<Mailbox>().map_err(|error| {
            format!("{key} = {text:?}: expected an address such as ops@example.org ({error})")
        })
    };
    if table.to.is_empty() || table.to.len() > MAX_RECEIVERS {
        return Err(format!("to has {} addresses: expected 1 to {MAX_RECEIVERS}", table.to.len()));
    }
    if table.security == Security::None && !is_loopback(&table.server) {
        return Err(format!(
            "security = \"none\" with the server {:?}: only this machine's own mail server is talked to without TLS",
            table.server
        ));
    }
    let credentials = match (&table.user, &table.password_file) {
        (None, None) => None,
        (Some(user), Some(path)) => Some((user.clone(), secret(folder, path, 1)?)),
        _ => return Err("user and password_file belong together: one of them is missing".into()),
    };
    let port = match table.security {
        Security::StartTls => 587,
        Security::Tls => 465,
        Security::None => 25,
    };
    Ok(Mail {
        server: table.server.clone(),
        port: table.port.unwrap_or(port),
        security: table.security,
        credentials,
        authorities: authorities(folder, table.ca_file.as_deref())?,
        from: mailbox("from", &table.from)?,
        to: table.to.iter().map(|to| mailbox("to", to)).collect::<Result<_, _>>()?,
        events: table.events.clone(),
        sender: sender.to_owned(),
    })
}

fn webhook(table: &WebhookTable, folder: &Path, sender: &str) -> Result<Webhook, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if table.name.is_empty() || table.name.len() > 60 || !table.name.chars().all(is_plain) {
        return Err("name: expected up to 60 letters, digits, dots and hyphens".into());
    }
    let text = match (&table.url, &table.url_file) {
        (Some(url), None) => url.clone(),
        (None, Some(path)) => secret(folder, path, 1)?.0,
        _ => return Err("expected one of url and url_file".into()),
    };
    // What is wrong with it is said without it: it may be a secret.
    let url = Url::parse(&text).map_err(|error| format!("url: {error}"))?;
    let is_local = url.host_str().is_some_and(is_loopback);
    if !(url.scheme() == "https" || (url.scheme() == "http" && is_local)) {
        return Err("url: expected https://, or http:// on this machine".into());
    }
    let proxy = table.proxy.as_deref().map(Proxy::read).transpose()?;
    if is_local && proxy.is_some() {
        return Err("proxy: this machine is reached without one".into());
    }
    let secret = table.secret_file.as_deref().map(|path| secret(folder, path, MIN_SECRET)).transpose()?;
    if table.form == Form::Stopgap && secret.is_none() {
        return Err("secret_file is missing: with it the receiver knows who speaks".into());
    }
    Ok(Webhook {
        name: table.name.clone(),
        url: Secret(text),
        is_local,
        form: table.form,
        secret,
        authorities: authorities(folder, table.ca_file.as_deref())?,
        proxy,
        events: table.events.clone(),
        sender: sender.to_owned(),
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn secret(folder: &Path, path: &Path, least: usize) -> Result<Secret, String> {
    let path = folder.join(path);
    let text = read(&path)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.len() < least || text.contains(['\r', '\n']) {
        return Err(format!("{}: expected one line of at least {least} letters", path.display()));
    }
    Ok(Secret(text.to_owned()))
}

fn authorities(folder: &Path, path: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = path.map(|path| folder.join(path)) else { return Ok(None) };
    let text = read(&path)?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(format!("{}: expected certificates in PEM", path.display()));
    }
    Ok(Some(text))
}

fn read(path: &Path) -> Result<String, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(at)?.len() > MAX_FILE {
        return Err(format!("{}: expected at most {MAX_FILE} octets", path.display()));
    }
    std::fs::read_to_string(path).map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(text: &str) -> Result<Receivers, String> {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("password"), "hunter2hunter2hunter2\n").unwrap();
        std::fs::write(folder.join("short"), "short\n").unwrap();
        std::fs::write(folder.join("url"), "https://hooks.example.org/services/T0/B0/s3cr3t\n").unwrap();
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        Receivers::read(&file, folder, "hub").map_err(|error| error.to_string())
    }

    const MAIL: &str = "[mail]\nserver = \"smtp.example.org\"\nfrom = \"Stopgap <s@example.org>\"\nto = [\"o@example.org\"]\n";

    #[test]
    fn what_is_usual_needs_few_words() {
        let found = receivers(&format!(
            "{MAIL}user = \"s\"\npassword_file = \"password\"\n\
             [[webhook]]\nname = \"own\"\nurl = \"https://example.org/\"\nsecret_file = \"password\"\n\
             [[webhook]]\nname = \"chat\"\nurl_file = \"url\"\nform = \"slack\"\nevents = [\"failed\", \"quiet\"]\n"
        ))
        .unwrap();
        let names: Vec<String> = found.all().map(|receiver| receiver.name()).collect();
        assert_eq!(names, ["mail", "webhook own", "webhook chat"]);
        assert_eq!(found.mail.as_ref().unwrap().port, 587);
        let chat = found.named("webhook chat").unwrap();
        assert!(chat.wants(Kind::Failed) && chat.wants(Kind::Test) && !chat.wants(Kind::Applied));
        let shown = format!("{found:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_was_expected() {
        let cases = [
            (format!("{MAIL}security = \"none\"\n"), "[mail]: security = \"none\""),
            (format!("{MAIL}user = \"s\"\n"), "[mail]: user and password_file belong together"),
            (MAIL.replace("o@example.org", "nobody"), "[mail]: to = \"nobody\""),
            (format!("{MAIL}password_file = \"gone\"\nuser = \"s\"\n"), "gone: No such file"),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"http://example.org/\"\n".into(),
                "[[webhook]] a: url: expected https",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"https://example.org/\"\nproxy = \"http://a:hunter2@proxy:3128\"\n"
                    .into(),
                "[[webhook]] a: proxy: expected http://HOST:PORT",
            ),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"http://localhost/\"\nproxy = \"http://proxy:3128\"\n".into(),
                "proxy: this machine is reached without one",
            ),
            ("[[webhook]]\nname = \"a\"\nurl = \"https://example.org/\"\n".into(), "secret_file is missing"),
            (
                "[[webhook]]\nname = \"a\"\nurl = \"https://example.org/\"\nsecret_file = \"short\"\n".into(),
                "at least 16 letters",
            ),
            ("[[webhook]]\nname = \"a\"\nform = \"slack\"\n".into(), "expected one of url and url_file"),
            ("[notify]\ndigest = \"dawn\"\n".into(), "expected a time such as \"06:00\""),
            ("[notify]\nwindw = \"1m\"\n".into(), "unknown field `windw`"),
            (format!("{MAIL}events = [\"exploded\"]\n"), "unknown variant `exploded`"),
        ];
        for (text, expected) in cases {
            let found = receivers(&text).unwrap_err();
            assert!(found.contains(expected), "{text}\n{found}");
        }
    }
}
