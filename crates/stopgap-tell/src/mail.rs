//! Mail by SMTP (RFC 5321), over TLS (RFC 8314) or, on this machine alone, without.

use jiff::Timestamp;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::settings::{Mail, Security};
use crate::{ATTEMPT, Message, SendError, form};

/// Nobody's absence note answers it (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Sends it to everybody at once.
pub(crate) async fn send(
    mail: &Mail,
    message: &Message,
    delivery: &str,
    now: Timestamp,
) -> Result<(), SendError> {
    let letter = letter(mail, message, delivery, now)?;
    let transport = transport(mail)?;
    match tokio::time::timeout(ATTEMPT, transport.send(letter)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(SendError(format!("{} port {}: {}", mail.server, mail.port, causes(&error)))),
        Err(_) => {
            let seconds = ATTEMPT.as_secs();
            Err(SendError(format!("{} port {}: no end within {seconds} s", mail.server, mail.port)))
        }
    }
}

fn letter(
    mail: &Mail,
    message: &Message,
    delivery: &str,
    now: Timestamp,
) -> Result<lettre::Message, SendError> {
    let wrong = |error: lettre::error::Error| SendError(format!("the mail cannot be written: {error}"));
    let domain = mail.from.email.domain();
    let mut letter = lettre::Message::builder()
        .from(mail.from.clone())
        .subject(form::subject(message, &mail.sender))
        .date(now.into())
        // The same when it is sent again: mail programs show it once.
        .message_id(Some(format!("<{delivery}@{domain}>")))
        .header(AutoSubmitted);
    for to in &mail.to {
        letter = letter.to(to.clone());
    }
    let text = form::text(message, &mail.sender);
    let Some(attachment) = &message.attachment else {
        return letter.header(ContentType::TEXT_PLAIN).body(text).map_err(wrong);
    };
    let kind = ContentType::parse("text/csv; charset=utf-8").unwrap_or(ContentType::TEXT_PLAIN);
    let file = Part::new(attachment.name.clone()).body(attachment.csv.clone(), kind);
    letter.multipart(MultiPart::mixed().singlepart(SinglePart::plain(text)).singlepart(file)).map_err(wrong)
}

fn transport(mail: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
    let tls = match mail.security {
        Security::None => Tls::None,
        Security::StartTls => Tls::Required(parameters(mail)?),
        Security::Tls => Tls::Wrapper(parameters(mail)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(mail.server.as_str())
        .port(mail.port)
        .timeout(Some(ATTEMPT))
        .tls(tls);
    if let Some((user, password)) = &mail.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

fn parameters(mail: &Mail) -> Result<TlsParameters, SendError> {
    let wrong = |error: lettre::transport::smtp::Error| SendError(format!("TLS: {}", causes(&error)));
    let mut builder = TlsParameters::builder(mail.server.clone());
    if let Some(pem) = &mail.authorities {
        // Certificates that are named take the place of the system's.
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(pem.as_bytes()).map_err(wrong)?);
    }
    builder.build_rustls().map_err(wrong)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
