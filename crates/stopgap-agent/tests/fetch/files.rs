//! Feeds on disk: a file, or a folder that somebody fills.

use std::path::Path;

use stopgap_agent::fetch::{Fetched, Fetcher, Limits};
use stopgap_testkit::feeds::{PING, feed, signed};
use url::Url;

use crate::world::{
    Agent, STRANGER, fault, fetcher, followed, limits, network, now, outcome, release, result,
};

fn agent() -> Fetcher {
    fetcher(&network(), limits())
}

fn address(path: &Path) -> String {
    Url::from_file_path(path).unwrap().to_string()
}

#[tokio::test]
async fn the_newest_document_of_a_folder_that_is_believed_counts() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, octets: &[u8]| std::fs::write(folder.path().join(name), octets).unwrap();
    let feed_here = followed(address(folder.path()));
    put("9.xml", &release(9));
    put("10.xml", &release(10));
    put("a.xml", &release(7));
    put("by-a-stranger.xml", &signed(&feed("example", 99, now(), PING), &STRANGER));
    put("of-another-feed.xml", &signed(&feed("another", 98, now(), PING), &crate::world::PUBLISHER));
    put("z.xml", b"not a document");
    put("10.xml.cosignature-1.xml", b"not a document either");
    put("readme.txt", b"nor this");
    assert_eq!(outcome(&agent(), &feed_here).await, Ok(10));
}

#[tokio::test]
async fn a_folder_without_a_document_or_with_too_many_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let feed_here = followed(address(folder.path()));
    let few = fetcher(&network(), Limits { folder: 2, ..limits() });
    assert_eq!(outcome(&few, &feed_here).await, Err("file".to_owned()));
    for serial in 1..=3 {
        std::fs::write(folder.path().join(format!("{serial}.xml")), release(serial)).unwrap();
    }
    let delivery = Agent::new("").fetch(&few, &feed_here).await;
    let Fetched::Failed(failure) = delivery.fetched else { panic!() };
    assert!(failure.message.contains("expected 1 to 2 documents") && failure.message.contains("found 3"));
    std::fs::remove_file(folder.path().join("3.xml")).unwrap();
    assert_eq!(outcome(&few, &feed_here).await, Ok(2));
    std::fs::write(folder.path().join("2.xml"), vec![b' '; limits().document + 1]).unwrap();
    assert_eq!(outcome(&few, &feed_here).await, Ok(1), "what is too large is left out");
}

#[tokio::test]
async fn a_file_is_read_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.xml");
    let here = followed(address(&path));
    let agent_here = Agent::new("");
    assert_eq!(fault(&agent_here.fetch(&agent(), &here).await), "file");
    std::fs::write(&path, release(1)).unwrap();
    let delivery = agent_here.fetch(&agent(), &here).await;
    assert_eq!(result(&agent_here.judge(delivery)), Ok(1));
    std::fs::write(&path, vec![b' '; limits().document + 1]).unwrap();
    assert_eq!(fault(&agent_here.fetch(&agent(), &here).await), "too-large");
}

#[tokio::test]
async fn a_pipe_is_no_file_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.xml");
    std::fs::write(&path, release(1)).unwrap();
    assert_eq!(outcome(&agent(), &followed(address(&path))).await, Ok(1));
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert_eq!(outcome(&agent(), &followed(address(&path))).await, Err("file".to_owned()));
}
