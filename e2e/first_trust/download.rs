//! Cards and certificates that are downloaded: what is believed is the digest, not the way.

use std::fs;

use serde_json::json;
use stopgap_core::plan::sha256_hex;
use stopgap_feed::card::fingerprint;

use super::scene;
use super::tls::{Authority, NAME};

#[test]
fn a_card_and_the_root_that_it_names_are_downloaded_and_compared() {
    let (scene, host) = (scene(), Authority::new("Card Host CA"));
    scene.world.write("etc/roots.pem", &host.pem);
    scene.world.config(&format!("ca_bundle = \"roots.pem\"\n{}", scene.gateway.target()));
    let root = fs::read_to_string(scene.publisher.folder.join("root.pem")).unwrap();
    let foreign = scene.world.publisher_named("foreign");
    let foreign = fs::read(foreign.folder.join("root.pem")).unwrap();
    let own = root.clone().into_bytes();
    let certificates = host.serve(move |target| match target {
        "/root.pem" => ("200 OK", own.clone()),
        "/foreign.pem" => ("200 OK", foreign.clone()),
        _ => ("404 Not Found", Vec::new()),
    });
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(root.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.unwrap();
    let card = |file: &str| {
        format!(
            "[feed]\nname = \"example\"\nurl = \"file://{}\"\n[trust]\nroots = [\"sha256:{} https://{NAME}:{}/{file}\"]\n",
            scene.publisher.feed().display(),
            sha256_hex(&der),
            certificates.port()
        )
    };
    let served = [card("root.pem"), card("foreign.pem"), card("missing.pem")];
    let fingerprints = served.clone().map(|card| fingerprint(&card));
    let cards = host.serve(move |target| match target.trim_start_matches('/').parse::<usize>() {
        Ok(at) => ("200 OK", served[at].clone().into_bytes()),
        Err(_) => ("404 Not Found", Vec::new()),
    });
    let add = |at: usize, fingerprint: &str, code: i32| {
        let url = format!("https://{NAME}:{}/{at}", cards.port());
        scene.world.json(code, &["feed", "add", &url, "--fingerprint", fingerprint, "--yes"])
    };
    assert_eq!(add(0, &fingerprints[1], 4)["error"], "wrong-fingerprint");
    let another = add(1, &fingerprints[1], 1);
    assert_eq!(another["error"], "missing-root");
    assert!(another["message"].as_str().unwrap().contains("is another certificate"), "{another}");
    let missing = add(2, &fingerprints[2], 1);
    assert!(missing["message"].as_str().unwrap().contains("404"), "{missing}");
    assert_eq!(scene.written(), [""; 0]);
    let added = add(0, &fingerprints[0], 0);
    assert_eq!((&added["added"], &added["document"]["serial"]), (&json!(true), &json!(1)));
    // What is written is whole: the host of the certificate is not asked again.
    let trust = fs::read_to_string(scene.world.path("etc/feeds.d/example.trust.toml")).unwrap();
    assert!(trust.contains("BEGIN CERTIFICATE") && !trust.contains("sha256:"), "{trust}");

    let plain = format!("http://{NAME}:{}/0", cards.port());
    let ran = scene.world.stopgap(&["feed", "add", &plain, "--fingerprint", &fingerprints[0], "--yes"]);
    assert_eq!(ran.code, 2, "a card over plain http: {ran:#?}");
}
