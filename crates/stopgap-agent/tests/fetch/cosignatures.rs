//! Co-signatures beside a document: fetched, kept, judged again, held back.

use stopgap_agent::config::FeedConfig;
use stopgap_agent::fetch::Fetched;

use crate::beside::{Files, agent_fetcher, cosignature, two_signatures};
use crate::server::Server;
use crate::world::{Agent, PUBLISHER, STRANGER, followed, release, result};

/// A feed with co-signatures on a server.
struct Cosigned {
    agent: Agent,
    files: Files,
    server: Server,
}

impl Cosigned {
    fn new() -> Cosigned {
        let files = Files::default();
        Cosigned { agent: two_signatures(), server: files.serve(), files }
    }

    fn feed(&self) -> FeedConfig {
        followed(format!("http://{}/feed.xml", self.server.address))
    }

    async fn cycle(&self) -> Result<u64, String> {
        let delivery = self.agent.fetch(&agent_fetcher(), &self.feed()).await;
        result(&self.agent.judge(delivery))
    }
}

const FIRST: &str = "/feed.xml.cosignature-1.xml";

#[tokio::test]
async fn two_signatures_are_fetched_kept_and_judged_again() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    let asked: Vec<String> = world.server.take_asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, ["/feed.xml", FIRST], "as many as there are co-signers");
    // Nobody is asked: what is kept counts as it did.
    let kept = world.agent.judge(Fetched::Skipped);
    assert_eq!(result(&kept), Ok(1));
    assert_eq!(kept.verified.unwrap().cosigners().len(), 1);
}

#[tokio::test]
async fn a_co_signature_that_is_held_back() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/feed.xml", release(2));
    // That of the release before is none of this one.
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
    world.files.take(FIRST);
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
    assert_eq!(
        world.agent.judge(Fetched::Skipped).report.serial,
        Some(1),
        "the last good one goes on counting"
    );
    world.files.put(FIRST, cosignature(&release(2), &PUBLISHER));
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()), "the publisher's own is no second");
    world.files.put(FIRST, cosignature(&release(2), &STRANGER));
    assert_eq!(world.cycle().await, Ok(2));
}

#[tokio::test]
async fn without_cosigners_none_is_asked_for() {
    let files = Files::default();
    let server = files.serve();
    files.put("/feed.xml", release(1));
    let agent = Agent::new("");
    let feed = followed(format!("http://{}/feed.xml", server.address));
    let delivery = agent.fetch(&agent_fetcher(), &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    assert_eq!(server.take_asked().len(), 1);
}

#[tokio::test]
async fn a_co_signature_without_end_is_left_out() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/feed.xml", release(2));
    world.files.put(FIRST, vec![b' '; 300 << 10]);
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
}
