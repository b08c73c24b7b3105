//! Joining an organization and leaving it.

use jiff::Timestamp;
use stopgap_core::wire::Enroll;
use stopgap_drivers::Machine;
use stopgap_drivers::host::remove_if_there;

use super::address::{Address, Token};
use super::books::Books;
use super::client::{Client, HubError};
use super::contact::Contact;
use super::enrollment::Enrollment;
use super::machine;
use super::said::Said;
use crate::config::Config;
use crate::home::{Home, HomeError};

/// Why this server did not join.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// It did before.
    #[error("this server belongs to the hub {hub} already, as {server}")]
    Already {
        /// That hub.
        hub: String,
        /// This server's identity there.
        server: String,
    },
    /// The hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// How this server is known from now on.
#[derive(Debug)]
pub struct Joined {
    /// Its identity at the hub.
    pub enrollment: Enrollment,
    /// What the organization says, or why that could not be asked yet.
    pub said: Result<Said, HubError>,
}

/// Joins the hub at `address` under the server's configured name. What the organization says is asked at once,
/// so that it counts in the very next cycle.
pub async fn enroll(config: &Config, address: Address, token: &Token) -> Result<Joined, EnrollError> {
    let home = Home::open(&Machine, &config.data)?;
    if let Some(before) = Enrollment::load(&home, &Machine)? {
        return Err(EnrollError::Already { hub: before.hub, server: before.server });
    }
    let (client, found) = Client::joining(address.clone(), token, &config.network)?;
    let enrolled = client
        .enroll(&Enroll {
            token: token.secret.clone(),
            name: config.server.clone(),
            machine: machine::identity(&config.server),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await?;
    let now = Timestamp::now();
    let enrollment = Enrollment {
        hub: address.to_string(),
        server: enrolled.server,
        credential: enrolled.credential,
        credential_since: now,
        former: None,
        ca: found.and_then(|found| found.der()).map(|der| pem(&der)),
    };
    let asked = async { Client::new(&enrollment, &config.network)?.settings(None).await };
    let said = asked.await.and_then(|settings| {
        let nothing = || HubError::Unreadable("nothing was said, though nothing is kept here".into());
        Ok(Said { settings: settings.ok_or_else(nothing)?, received_at: now })
    });
    let _lock = home.lock()?;
    if let Ok(said) = &said {
        said.save(&home, &Machine)?;
    }
    let contact = Contact {
        hub: enrollment.hub.clone(),
        server: enrollment.server.clone(),
        heard_at: now,
        silent_since: None,
        error: None,
    };
    contact.save(&home, &Machine)?;
    Books::default().save(&home, &Machine)?;
    // The last one: without it nothing of the rest counts.
    enrollment.save(&home, &Machine)?;
    Ok(Joined { enrollment, said })
}

/// Leaves: what the organization said is forgotten, what is in force stays. Returns the hub that was left.
pub fn leave(config: &Config) -> Result<Option<String>, HomeError> {
    let home = Home::open(&Machine, &config.data)?;
    let _lock = home.lock()?;
    let before = Contact::load(&home, &Machine).ok().flatten().map(|contact| contact.hub);
    let folder = home.path(super::FOLDER);
    // The first one: without it nothing of the rest counts, wherever this is cut off.
    let joined = Enrollment::path(&home);
    remove_if_there(&Machine, &joined).map_err(|source| HomeError::Io {
        what: "remove",
        path: joined,
        source,
    })?;
    match std::fs::remove_dir_all(&folder) {
        Ok(()) => Ok(Some(before.unwrap_or_else(|| "a hub".into()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HomeError::Io { what: "remove", path: folder, source }),
    }
}

/// A certificate as PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
