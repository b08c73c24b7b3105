//! The organization: a hub in a process of its own, and an administrator who uses its commands and its console.

use std::net::SocketAddr;

use anyhow::Context;

use super::stage::{Stage, path};

const ADMINISTRATOR: &str = "demo";

/// A hub that is up.
pub struct Organization {
    url: String,
    token: String,
    sign_in: String,
}

impl Organization {
    /// Starts a hub on a free loopback port, with an account.
    pub async fn start(stage: &mut Stage) -> anyhow::Result<Organization> {
        let data = stage.path("hub");
        std::fs::create_dir_all(&data)?;
        let data = path(&data)?.to_owned();
        let run = ["hub", "run", "--data", &data, "--listen", "127.0.0.1:0"];
        let address: SocketAddr = stage.spawn_listener(&run, "the hub listens on http://").await?;
        let url = format!("http://{address}");
        let token = ["hub", "token", "create", "--data", &data, "--role", "administrator", "--label", "demo"];
        let token = stage.run(&token, &[], "").await?.trim().to_owned();
        // Nobody learns this password: the account is entered by its link.
        let password = stopgap_hub::secret::new("").context("cannot make a password")?;
        stage.run(&["hub", "user", "add", ADMINISTRATOR, "--data", &data], &[], &password).await?;
        let link = ["hub", "user", "link", ADMINISTRATOR, "--data", &data, "--hub", &url, "--expires", "24h"];
        let sign_in = stage.run(&link, &[], "").await?.trim().to_owned();
        Ok(Organization { url, token, sign_in })
    }

    /// Has the server join.
    pub async fn enroll(&self, stage: &Stage) -> anyhow::Result<()> {
        let data = stage.path("hub");
        let token = stage.run(&["hub", "enrollment", "create", "--data", path(&data)?], &[], "").await?;
        let config = stage.config();
        let enroll = ["agent", "enroll", "--hub", &self.url, "--token-file", "-", "--config", path(&config)?];
        stage.run(&enroll, &[], &token).await?;
        Ok(())
    }

    /// Changes what the organization says.
    pub async fn say(&self, stage: &Stage, change: &[&str]) -> anyhow::Result<()> {
        let environment = [("STOPGAP_HUB", self.url.as_str()), ("STOPGAP_TOKEN", &self.token)];
        stage.run(&[&["org", "set"], change].concat(), &environment, "").await?;
        Ok(())
    }

    /// Where its console is.
    pub fn invitation(&self) -> String {
        format!(
            "\nThe organization's console is on {}; this link signs in, once:\n\n  {}\n",
            self.url, self.sign_in
        )
    }
}
