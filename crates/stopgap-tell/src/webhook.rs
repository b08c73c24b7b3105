//! A webhook: one POST, signed.

use std::time::Duration;

use jiff::Timestamp;

use crate::settings::Webhook;
use crate::{ATTEMPT, Message, SendError, form};

const CONNECT: Duration = Duration::from_secs(10);

/// Sends it once. The client lives as long as the request: messages are rare, and an idle client costs memory.
pub(crate) async fn send(
    webhook: &Webhook,
    message: &Message,
    delivery: &str,
    now: Timestamp,
) -> Result<(), SendError> {
    // The address may be a secret of its own.
    let wrong = |error: reqwest::Error| SendError(causes(&error.without_url()));
    let body = form::body(webhook.form, message, &webhook.sender, delivery);
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("stopgap/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(ATTEMPT)
        // A redirect would carry the message, and its signature, to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(proxy) = &webhook.proxy {
        client = client.proxy(proxy.for_client().map_err(wrong)?);
    }
    if let Some(pem) = &webhook.authorities {
        let bundle = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(wrong)?;
        client = client.tls_certs_only(bundle);
    }
    let mut request = client.build().map_err(wrong)?.post(webhook.url.expose());
    request = request.header("content-type", "application/json").header("stopgap-delivery", delivery);
    if let Some(secret) = &webhook.secret {
        request =
            request.header("stopgap-signature", form::signature(secret.expose().as_bytes(), &body, now));
    }
    let answer = request.body(body).send().await.map_err(wrong)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(SendError(format!("the answer is {status}: expected one of 200 to 299")))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
