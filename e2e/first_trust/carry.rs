//! The walk with a USB stick, from a server with a network to one without.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Scene, scene};
use crate::world::{ATTACK, Origin, Seen, VULNERABLE, World, ask, run, text};

/// A second server, which follows the same feed and has no way to it.
fn far_away(scene: &Scene) -> (World, crate::world::Gateway) {
    let world = World::new();
    let gateway = world.gateway(Origin::start().address);
    world.config(&gateway.target());
    world.exchange(VULNERABLE);
    let card = scene.card_at(&format!("file://{}", world.path("nowhere.xml").display()), &[]);
    world.ok(&["feed", "add", text(&card.path), "--fingerprint", &card.fingerprint, "--yes"]);
    (world, gateway)
}

/// A server with the feed, and its export.
fn exported() -> (Scene, PathBuf) {
    let scene = scene();
    assert_eq!(scene.add(&scene.card(&[]), &["--yes"]).code, 0);
    let stick = scene.world.path("stick");
    let nothing = scene.world.stopgap(&["feed", "export", "example", text(&stick)]);
    assert_eq!(nothing.code, 1, "nothing was fetched yet: {nothing:#?}");
    scene.world.ok(&["apply"]);
    scene.world.ok(&["feed", "export", "example", text(&stick)]);
    (scene, stick)
}

/// Everything that is remembered of feeds, and what a refusal may leave is nothing.
fn remembered(world: &World) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(world.data().join("feeds")) else { return Vec::new() };
    let mut all: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

fn refused(world: &World, path: &Path, code: &str) {
    let before = remembered(world);
    let found = world.json(4, &["feed", "import", text(path)]);
    assert_eq!(found["imported"], false);
    assert_eq!(
        (&found["refusals"][0]["feed"], &found["refusals"][0]["error"]),
        (&json!("example"), &json!(code))
    );
    let ran = world.stopgap(&["feed", "import", text(path)]);
    assert!(ran.code == 4 && ran.stderr.contains(code), "{ran:#?}");
    assert!(remembered(world) == before, "a refused import left something behind");
}

#[test]
fn a_feed_walks_to_a_server_without_a_network_and_is_in_force_there() {
    let (scene, stick) = exported();
    let (far, gateway) = far_away(&scene);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
    let imported = far.json(0, &["feed", "import", text(&stick)]);
    assert_eq!((&imported["feed"], &imported["serial"]), (&json!("example"), &json!(1)));
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    assert_eq!(far.json(0, &["feed", "list"])[0]["serial"], 1);

    scene.publisher.publish();
    scene.world.ok(&["apply"]);
    scene.world.ok(&["feed", "export", "example", text(&stick)]);
    // The document by its name, as a shell spells out a folder.
    let files = scene.world.json(0, &["feed", "export", "example", text(&stick)])["files"].clone();
    let mut import = vec!["feed", "import"];
    import.extend(files.as_array().unwrap().iter().map(|file| file.as_str().unwrap()));
    assert_eq!(far.json(0, &import)["serial"], 2);
    assert_eq!(far.mitigation("M1")["in_force"], true);
}

#[test]
fn a_server_that_has_no_certificates_of_its_own_takes_what_was_carried() {
    let (scene, stick) = exported();
    let (far, gateway) = far_away(&scene);
    let mut command = far.command(&["feed", "import", text(&stick)]);
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", far.path("no-such-folder"));
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
}

#[test]
fn what_is_carried_is_judged_as_what_is_fetched() {
    let (scene, stick) = exported();
    let (far, _gateway) = far_away(&scene);
    let first = stick.join("example.xml");
    let altered = scene.world.path("altered.xml");
    fs::write(&altered, fs::read_to_string(&first).unwrap().replacen("revision 4", "revision 5", 1)).unwrap();
    refused(&far, &altered, "digest-mismatch");

    let second = scene.world.path("second.xml");
    scene.publisher.publish();
    fs::copy(scene.publisher.feed(), &second).unwrap();
    far.ok(&["feed", "import", text(&second)]);
    refused(&far, &first, "rollback");
    assert_eq!(far.json(0, &["feed", "list"])[0]["serial"], 2);

    // Of a folder with both, the newest that is believed counts.
    let (further, _gateway) = far_away(&scene);
    fs::copy(&second, stick.join("newer.xml")).unwrap();
    fs::copy(&altered, stick.join("altered.xml")).unwrap();
    assert_eq!(further.json(0, &["feed", "import", text(&stick)])["serial"], 2);
}

#[test]
fn an_import_is_for_the_feed_that_believes_it() {
    let (scene, stick) = exported();
    let (far, _gateway) = far_away(&scene);
    let other = far.publisher_named("other");
    far.config(&other.table_at("file:///nowhere.xml"));
    let found = far.json(0, &["feed", "import", text(&stick)]);
    assert_eq!(found["feed"], "example");
    let found = far.json(4, &["feed", "import", text(&stick), "--feed", "other"]);
    assert_eq!(found["refusals"][0]["feed"], "other");
    assert_eq!(far.stopgap(&["feed", "import", text(&stick), "--feed", "nobody"]).code, 1);
    assert_eq!(far.stopgap(&["feed", "import", text(&far.path("no-such-file.xml"))]).code, 1);
}

#[test]
fn an_export_to_a_folder_of_somebody_else_follows_no_link_there() {
    let (scene, stick) = exported();
    let victim = scene.world.path("victim");
    fs::write(&victim, "what was there").unwrap();
    for name in ["example.xml", "example.xml.new"] {
        let link = stick.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        scene.world.ok(&["feed", "export", "example", text(&stick)]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "what was there", "{name}");
        let exported = fs::symlink_metadata(stick.join("example.xml")).unwrap();
        assert!(exported.is_file(), "{name}");
    }
    // Left behind by an export that was interrupted.
    fs::write(stick.join("example.xml.new"), "half").unwrap();
    scene.world.ok(&["feed", "export", "example", text(&stick)]);
    assert!(!stick.join("example.xml.new").exists());
}
