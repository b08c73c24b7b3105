//! Redirects: how many, and where to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stopgap_agent::config::FeedConfig;
use stopgap_agent::fetch::Fetcher;

use crate::server::{Handler, Server, always, ok, redirect, status};
use crate::world::{Agent, Fault, fetcher, followed, limits, network, outcome, release, tls};

fn agent() -> Fetcher {
    fetcher(&network(), limits())
}

fn feed_at(server: &Server) -> FeedConfig {
    followed(format!("http://{}/feed.xml", server.address))
}

/// A document in the private network, and a server on the internet that sends agents there.
struct Sent {
    private: Server,
    public: Server,
}

impl Sent {
    async fn new() -> Sent {
        let sent = Sent {
            private: Server::start("127.0.0.2", None, always(release(1))),
            public: Server::start("127.0.0.1", None, always(release(1))),
        };
        assert_eq!(outcome(&agent(), &feed_at(&sent.public)).await, Ok(1), "the untouched answer");
        sent
    }

    async fn to(&self, host: &str) -> Result<u64, String> {
        self.public.answer(redirect(&format!("http://{host}:{}/feed.xml", self.private.address.port())));
        outcome(&agent(), &feed_at(&self.public)).await
    }
}

#[tokio::test]
async fn whoever_a_redirect_led_to_announces_no_event_stream() {
    let announcing: Handler = Arc::new(|_, out| ok(out, "Link: </events>; rel=\"monitor\"\r\n", &release(1)));
    let (own, other) = (
        Server::start("127.0.0.1", None, always(release(1))),
        Server::start("127.0.0.1", None, announcing.clone()),
    );
    let announced = async |server: &Server| {
        Agent::new("").fetch(&agent(), &feed_at(server)).await.events.map(|url| url.to_string())
    };
    assert_eq!(announced(&other).await, Some(format!("http://{}/events", other.address)));
    own.answer(redirect(&format!("http://{}/feed.xml", other.address)));
    assert_eq!(announced(&own).await, None);
    // On the feed's own server it may stand anywhere.
    own.answer(Arc::new(move |asked, out| match asked.target.as_str() {
        "/feed.xml" => status(out, "302 Found", "Location: /there.xml\r\n"),
        _ => announcing(asked, out),
    }));
    assert_eq!(announced(&own).await, Some(format!("http://{}/events", own.address)));
}

#[tokio::test]
async fn a_server_that_is_no_proxy_asks_for_no_credentials_of_one() {
    let server = Server::start("127.0.0.1", None, Arc::new(|_, out| status(out, "407 Whatever", "")));
    assert_eq!(outcome(&agent(), &feed_at(&server)).await, Err("http-status".to_owned()));
}

#[tokio::test]
async fn five_redirects_are_followed_and_a_loop_is_not() {
    let steps = |most: usize| -> Handler {
        Arc::new(move |asked, out| match asked.target.strip_prefix('/').unwrap().parse::<usize>() {
            Ok(step) if step < most => status(out, "302 Found", &format!("Location: /{}\r\n", step + 1)),
            _ => ok(out, "", &release(1)),
        })
    };
    let server = Server::start("127.0.0.1", None, steps(5));
    let feed = followed(format!("http://{}/0", server.address));
    assert_eq!(outcome(&agent(), &feed).await, Ok(1));
    server.answer(steps(6));
    assert_eq!(outcome(&agent(), &feed).await, Err("redirect-loop".to_owned()));
    server.take_asked();
    server.answer(redirect("/0"));
    assert_eq!(outcome(&agent(), &feed).await, Err("redirect-loop".to_owned()));
    assert_eq!(server.take_asked().len(), 6, "five redirects are six requests");
}

#[tokio::test]
async fn a_redirect_from_https_to_http() {
    let plain = Server::start("127.0.0.1", None, always(release(1)));
    let secure = Server::start("127.0.0.1", Some(tls(Fault::None)), always(release(1)));
    let feed = followed(format!("https://{}/feed.xml", secure.address));
    assert_eq!(outcome(&agent(), &feed).await, Ok(1));
    secure.answer(redirect(&format!("http://{}/feed.xml", plain.address)));
    assert_eq!(outcome(&agent(), &feed).await, Err("redirect-downgrade".to_owned()));
    assert!(plain.take_asked().is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_private_address() {
    let sent = Sent::new().await;
    for host in ["127.0.0.2", "2130706434", "0x7f.0.0.2", "[::ffff:127.0.0.2]", "localhost", "any.localhost."]
    {
        assert_eq!(sent.to(host).await, Err("redirect-private".to_owned()), "{host}");
    }
    assert!(sent.private.take_asked().is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_name_of_a_private_address() {
    let sent = Sent::new().await;
    assert_eq!(sent.to("intranet.private.example").await, Err("redirect-private".to_owned()));
    assert!(sent.private.take_asked().is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_name_that_answers_otherwise_the_second_time() {
    let sent = Sent::new().await;
    // It is of the internet when it is asked first, and of the private network from then on.
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let lookup = move |_: &str| {
        let last = if counted.fetch_add(1, Ordering::SeqCst) == 0 { 1 } else { 2 };
        Ok(vec![std::net::Ipv4Addr::new(127, 0, 0, last).into()])
    };
    let is_internet = |address: std::net::IpAddr| address == std::net::Ipv4Addr::new(127, 0, 0, 1);
    let agent = Fetcher::with(&network(), limits(), is_internet, Arc::new(lookup)).unwrap();
    let port = sent.private.address.port();
    sent.public.answer(redirect(&format!("http://rebinding.example:{port}/feed.xml")));
    // Nobody listens at the first answer's address, and the second answer is never used.
    assert_eq!(outcome(&agent, &feed_at(&sent.public)).await, Err("unreachable".to_owned()));
    assert_eq!(outcome(&agent, &feed_at(&sent.public)).await, Err("redirect-private".to_owned()));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(sent.private.take_asked().is_empty());
}

#[tokio::test]
async fn a_feed_may_allow_redirects_to_its_private_network() {
    let sent = Sent::new().await;
    assert_eq!(sent.to("127.0.0.2").await, Err("redirect-private".to_owned()));
    let feed = FeedConfig { redirects_to_private: true, ..feed_at(&sent.public) };
    assert_eq!(outcome(&agent(), &feed).await, Ok(1));
}

#[tokio::test]
async fn a_feed_in_a_private_network_may_point_into_it() {
    let other = Server::start("127.0.0.2", None, always(release(1)));
    let feed = Server::start("127.0.0.2", None, redirect(&format!("http://{}/feed.xml", other.address)));
    for host in ["127.0.0.2", "feed.private.example"] {
        let feed = followed(format!("http://{host}:{}/feed.xml", feed.address.port()));
        assert_eq!(outcome(&agent(), &feed).await, Ok(1), "{host}");
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere() {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    assert_eq!(outcome(&agent(), &feed_at(&server)).await, Ok(1));
    for location in
        ["", "Location: file:///etc/passwd\r\n", "Location: http://[\r\n", "Location: gopher://x/\r\n"]
    {
        server.answer(Arc::new(move |_, out| status(out, "301 Moved Permanently", location)));
        assert_eq!(outcome(&agent(), &feed_at(&server)).await, Err("bad-answer".to_owned()), "{location}");
    }
}

#[tokio::test]
async fn an_event_stream_is_redirected_by_the_same_rules() {
    let stream: Handler = Arc::new(|asked, out| {
        assert_eq!(asked.headers["accept"], "text/event-stream");
        ok(out, "Content-Type: text/event-stream\r\n", b"event: feed\ndata: {}\n\n")
    });
    let private = Server::start("127.0.0.2", None, stream.clone());
    let public = Server::start("127.0.0.1", None, stream);
    let url: url::Url = format!("http://{}/events", public.address).parse().unwrap();
    let code =
        |opened: Result<_, stopgap_agent::fetch::Failure>| opened.err().map(|failure| failure.fault.code());
    assert_eq!(code(agent().stream(&url, false).await.map(drop)), None);
    public.answer(redirect(&format!("http://{}/events", private.address)));
    assert_eq!(code(agent().stream(&url, false).await.map(drop)), Some("redirect-private"));
    assert!(private.take_asked().is_empty());
    assert_eq!(code(agent().stream(&url, true).await.map(drop)), None);
    public.answer(Arc::new(|_, out| status(out, "404 Not Found", "")));
    assert_eq!(code(agent().stream(&url, false).await.map(drop)), Some("http-status"));
}
