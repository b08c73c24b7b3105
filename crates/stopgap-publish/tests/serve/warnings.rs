//! What the publisher is told of ends.

use stopgap_publish::serve::{Server, Settings};
use tokio::sync::oneshot;

use crate::client::{HANG, feed, replace};

#[tokio::test]
async fn the_publisher_is_told_that_the_release_ends_and_that_it_was_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let with_end = |serial, expires: &str| {
        let text = String::from_utf8(feed(serial)).unwrap();
        text.replace("version=", &format!("expires=\"{expires}\" version=")).into_bytes()
    };
    replace(folder.path(), &with_end(1, "2020-01-01T00:00:00Z"));
    let settings = Settings::new(folder.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
    let server = Server::bind(settings).await.unwrap();
    let mut warnings = server.warnings();
    let said = warnings.borrow_and_update().clone();
    assert!(said.as_ref().unwrap().contains("ended at 2020-01-01"), "{said:?}");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    replace(folder.path(), &with_end(2, "2999-01-01T00:00:00Z"));
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    assert_eq!(*warnings.borrow(), None);
    stop.send(()).unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn the_publisher_is_told_that_a_revocation_list_ends() {
    let pki = stopgap_publish::pki::Pki::create("Example", "2020-01-01T12:00:00Z".parse().unwrap()).unwrap();
    let list = |from: &str, until: &str| {
        let (from, until) = (from.parse().unwrap(), until.parse().unwrap());
        stopgap_publish::pki::revocation_list(&pki.root.authority().unwrap(), 1, &[], from, until).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("crl")).unwrap();
    let file = folder.path().join("crl/0123.crl");
    std::fs::write(&file, list("2020-01-01T00:00:00Z", "2020-03-01T00:00:00Z")).unwrap();
    replace(folder.path(), &feed(1));
    let settings = Settings::new(folder.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
    let server = Server::bind(settings).await.unwrap();
    let mut warnings = server.warnings();
    let said = warnings.borrow_and_update().clone().unwrap();
    assert!(said.contains("/crl/0123.crl ended at 2020-03-01"), "{said}");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    std::fs::write(&file, list("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z")).unwrap();
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    assert_eq!(*warnings.borrow_and_update(), None, "there is time");
    // In its last quarter.
    let now = jiff::Timestamp::now();
    let in_days = |days: i64| (now + jiff::SignedDuration::from_hours(24 * days)).to_string();
    std::fs::write(&file, list(&in_days(-50), &in_days(10))).unwrap();
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    let said = warnings.borrow_and_update().clone().unwrap();
    assert!(said.contains("/crl/0123.crl ends at"), "{said}");
    stop.send(()).unwrap();
    server.await.unwrap();
}
