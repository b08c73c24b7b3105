//! `test-connectivity` over real TLS: whose certificate is shown, and by whom the way is barred.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::tls::{Authority, NAME, proxy};
use super::{Scene, scene};
use crate::world::{free_port, text};

fn serve_tls(authority: &Authority, status: &'static str, body: Vec<u8>) -> SocketAddr {
    authority.serve(move |_| (status, body.clone()))
}

/// A server with the feed at this port, believing this authority.
fn following(scene: &Scene, port: u16, authority: &Authority, keys: &str) {
    scene.world.write("etc/roots.pem", &authority.pem);
    let table = scene.publisher.table_at(&format!("https://{NAME}:{port}/feed.xml"));
    scene.world.config(&format!("ca_bundle = \"roots.pem\"\n{keys}{table}{}", scene.gateway.target()));
}

/// Each check by name and outcome, and the details.
fn checks(tested: &Value) -> (Vec<(&str, bool)>, String) {
    let all = tested["feeds"][0]["checks"].as_array().unwrap();
    let details = all.iter().map(|check| check["detail"].as_str().unwrap()).collect::<Vec<_>>().join("\n");
    (
        all.iter().map(|check| (check["check"].as_str().unwrap(), check["ok"].as_bool().unwrap())).collect(),
        details,
    )
}

fn document(scene: &Scene) -> Vec<u8> {
    fs::read(scene.publisher.feed()).unwrap()
}

#[test]
fn the_documented_two_lines_and_every_check_behind_them() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    following(&scene, serve_tls(&host, "200 OK", document(&scene)).port(), &host, "");
    let ran = scene.world.ok(&["test-connectivity"]);
    let lines: Vec<&str> = ran.stdout.lines().take(2).collect();
    let message = "Message: The Mitigation Service endpoint is accessible from this computer.";
    assert_eq!(lines, ["Result: Success.", message]);
    let tested = scene.world.json(0, &["test-connectivity"]);
    assert_eq!((&tested["result"], &tested["feeds"][0]["ok"]), (&json!("Success"), &json!(true)));
    let (found, details) = checks(&tested);
    let names = ["dns", "tcp", "proxy", "tls", "http", "size", "signature"];
    assert_eq!(found, names.map(|name| (name, true)), "{details}");
    for words in ["localhost is at", "issued by `CN=Feed Host CA`", "roots.pem", "Feed Signing", "serial 1"] {
        assert!(details.contains(words), "{words}: {details}");
    }
    assert!(tested["feeds"][0]["checks"][0]["ms"].is_number());
    assert!(!scene.world.data().join("feeds").exists(), "it only looks");
}

#[test]
fn a_proxy_that_inspects_tls_is_named() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let inspecting = Authority::new("Corp Inspection CA");
    following(&scene, serve_tls(&inspecting, "200 OK", document(&scene)).port(), &host, "");
    let ran = scene.world.stopgap(&["test-connectivity"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let lines: Vec<&str> = ran.stdout.lines().take(2).collect();
    assert_eq!(lines[0], "Result: Failed.");
    assert!(lines[1].starts_with(
        "Message: Unable to connect to the Mitigation Service endpoint from this computer. To learn about \
         connectivity requirements, see "
    ));
    let tested = scene.world.json(1, &["test-connectivity"]);
    let (found, details) = checks(&tested);
    assert_eq!(found, [("dns", true), ("tcp", true), ("proxy", true), ("tls", false), ("http", false)]);
    assert!(
        details.contains("issued by `CN=Corp Inspection CA`") && details.contains("`ca_bundle`"),
        "{details}"
    );
    // Its root in the bundle makes it believed, and it is still named.
    following(&scene, serve_tls(&inspecting, "200 OK", document(&scene)).port(), &inspecting, "");
    let tested = scene.world.json(0, &["test-connectivity"]);
    let (_, details) = checks(&tested);
    assert!(details.contains("CN=Corp Inspection CA"), "{details}");
}

#[test]
fn a_proxy_on_the_way_and_one_that_bars_it() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let feed = serve_tls(&host, "200 OK", document(&scene));
    let keys = |proxy: SocketAddr| format!("internet_web_proxy = \"http://{proxy}\"\n");
    following(&scene, 443, &host, &keys(proxy(Some(feed))));
    let tested = scene.world.json(0, &["test-connectivity"]);
    let (_, details) = checks(&tested);
    assert!(details.contains("opens the way") && details.contains("CN=Feed Host CA"), "{details}");
    following(&scene, 443, &host, &keys(proxy(None)));
    let tested = scene.world.json(1, &["test-connectivity"]);
    let (found, details) = checks(&tested);
    assert_eq!(found, [("dns", true), ("tcp", true), ("proxy", false), ("http", false)]);
    assert!(details.contains("asks for credentials"), "{details}");
}

#[test]
fn what_answers_and_is_not_the_feed_is_told_apart() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let altered = String::from_utf8(document(&scene)).unwrap().replacen("revision 4", "revision 5", 1);
    for (status, body, failed, words) in [
        ("404 Not Found", Vec::new(), "http", "404"),
        ("200 OK", altered.into_bytes(), "signature", "digest-mismatch"),
        ("200 OK", b"<html>Please log in</html>".to_vec(), "signature", "Signature"),
    ] {
        following(&scene, serve_tls(&host, status, body).port(), &host, "");
        let tested = scene.world.json(1, &["test-connectivity"]);
        let (found, details) = checks(&tested);
        assert_eq!(found.last(), Some(&(failed, false)), "{details}");
        assert!(details.contains(words), "{words}: {details}");
        assert_eq!(found.iter().filter(|(_, ok)| !ok).count(), 1, "{details}");
    }
    following(&scene, free_port(), &host, "");
    let tested = scene.world.json(1, &["test-connectivity"]);
    assert_eq!(checks(&tested).0, [("dns", true), ("tcp", false), ("http", false)]);
    scene.world.config("");
    assert_eq!(scene.world.stopgap(&["test-connectivity"]).code, 1, "no feed is no access");
}

#[test]
fn a_feed_is_accessible_where_one_of_its_addresses_is() {
    let scene = scene();
    let missing = scene.world.path("missing.xml");
    let table = scene.publisher.table_at(&format!("file://{}", missing.display()));
    let mirror = format!("mirrors = [\"file://{}\"]\n", text(&scene.publisher.feed()));
    scene.world.config(&(table + &mirror));
    let tested = scene.world.json(0, &["test-connectivity"]);
    let oks: Vec<&Value> = tested["feeds"].as_array().unwrap().iter().map(|feed| &feed["ok"]).collect();
    assert_eq!(oks, [&json!(false), &json!(true)]);
    assert_eq!(checks(&tested).0, [("file", false)]);
    // A folder that somebody fills.
    let folder = scene.publisher.feed();
    let folder = folder.parent().unwrap().display();
    scene.world.config(&scene.publisher.table_at(&format!("file://{folder}")));
    let tested = scene.world.json(0, &["test-connectivity"]);
    assert_eq!(checks(&tested).0, [("file", true), ("size", true), ("signature", true)]);
}
