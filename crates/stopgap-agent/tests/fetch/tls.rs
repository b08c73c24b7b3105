//! TLS: whose certificates count.

use stopgap_agent::config::NetworkConfig;
use stopgap_agent::fetch::Fetcher;

use crate::server::{Server, always};
use crate::world::{Fault, fetcher, followed, limits, network, outcome, release, tls};

async fn with(fault: Fault) -> Result<u64, String> {
    let server = Server::start("127.0.0.1", Some(tls(fault)), always(release(1)));
    let feed = followed(format!("https://feed.example:{}/feed.xml", server.address.port()));
    outcome(&fetcher(&network(), limits()), &feed).await
}

#[tokio::test]
async fn a_tls_certificate_of_somebody_else() {
    assert_eq!(with(Fault::None).await, Ok(1));
    assert_eq!(with(Fault::Foreign).await, Err("tls".to_owned()));
}

#[tokio::test]
async fn a_tls_certificate_that_has_expired() {
    assert_eq!(with(Fault::None).await, Ok(1));
    assert_eq!(with(Fault::Expired).await, Err("tls".to_owned()));
}

#[tokio::test]
async fn a_tls_certificate_for_another_name() {
    assert_eq!(with(Fault::None).await, Ok(1));
    assert_eq!(with(Fault::WrongName).await, Err("tls".to_owned()));
}

#[tokio::test]
async fn no_tls_where_tls_is_expected() {
    assert_eq!(with(Fault::None).await, Ok(1));
    let plain = Server::start("127.0.0.1", None, always(release(1)));
    let feed = followed(format!("https://{}/feed.xml", plain.address));
    // A server that waits for a line of text answers nothing to a client that speaks TLS; one that answers
    // in text is the case here.
    plain.answer(always(release(1)));
    let limits = stopgap_agent::fetch::Limits { answer: std::time::Duration::from_secs(2), ..limits() };
    let code = outcome(&fetcher(&network(), limits), &feed).await.unwrap_err();
    assert!(["tls", "too-slow"].contains(&code.as_str()), "{code}");
}

#[tokio::test]
async fn the_systems_roots_do_not_count_beside_a_bundle_nor_the_bundle_without_it() {
    assert_eq!(with(Fault::None).await, Ok(1));
    let server = Server::start("127.0.0.1", Some(tls(Fault::None)), always(release(1)));
    let feed = followed(format!("https://{}/feed.xml", server.address));
    let system = Fetcher::new(&NetworkConfig::default()).unwrap();
    match outcome(&system, &feed).await.unwrap_err().as_str() {
        "network" if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            println!(
                "skipped (no ca-certificates): the_systems_roots_do_not_count_beside_a_bundle_nor_the_bundle_without_it"
            );
        }
        code => assert_eq!(code, "tls"),
    }
}

#[test]
fn a_bundle_that_is_none_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.pem");
    let network = NetworkConfig { ca_bundle: Some(path.clone()), ..NetworkConfig::default() };
    let error = |expected: &str| {
        let error = Fetcher::new(&network).unwrap_err().to_string();
        assert!(error.contains("ca_bundle") && error.contains(expected), "{error}");
    };
    error("No such file");
    std::fs::write(&path, "no PEM at all").unwrap();
    error("expected certificates in PEM, found none");
}
