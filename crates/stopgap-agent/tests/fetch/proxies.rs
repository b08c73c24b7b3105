//! Proxies: which way a request goes, and what becomes of it when the proxy fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use stopgap_agent::config::NetworkConfig;
use stopgap_agent::fetch::Fetcher;

use crate::server::{Proxy, Server, always, redirect};
use crate::world::{Fault, fetcher, followed, limits, network, outcome, release, tls};

/// `user:right horse` in Basic form.
const RIGHT: &str = "Basic dXNlcjpyaWdodCBob3JzZQ==";

fn through(proxy: SocketAddr, bypass: &[&str], credentials: Option<PathBuf>) -> NetworkConfig {
    NetworkConfig {
        proxy: Some(format!("http://{proxy}").parse().unwrap()),
        bypass: bypass.iter().map(|entry| entry.parse().unwrap()).collect(),
        credentials,
        ..network()
    }
}

fn credentials(folder: &tempfile::TempDir, line: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.path().join("credentials");
    std::fs::write(&path, line).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A plain and a TLS server, at addresses that only the proxy can find.
fn servers() -> [(Server, &'static str); 2] {
    [
        (Server::start("127.0.0.1", None, always(release(1))), "http://feed.private.example/feed.xml"),
        (
            Server::start("127.0.0.1", Some(tls(Fault::None)), always(release(1))),
            "https://feed.example/feed.xml",
        ),
    ]
}

#[tokio::test]
async fn http_and_https_go_through_the_proxy_but_for_the_bypass() {
    for (server, url) in servers() {
        let proxy = Proxy::start(server.address, None, None);
        let agent = fetcher(&through(proxy.address, &["127.0.0.0/8", "localhost"], None), limits());
        assert_eq!(outcome(&agent, &followed(url)).await, Ok(1), "{url}");
        assert_eq!(proxy.take_asked().len(), 1);
        let scheme = url.split(':').next().unwrap();
        let direct = followed(format!("{scheme}://{}/feed.xml", server.address));
        assert_eq!(outcome(&agent, &direct).await, Ok(1), "{url}");
        assert!(proxy.take_asked().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn a_proxy_that_asks_for_credentials() {
    let folder = tempfile::tempdir().unwrap();
    for (server, url) in servers() {
        let proxy = Proxy::start(server.address, Some(RIGHT), None);
        let with = |file| fetcher(&through(proxy.address, &[], file), limits());
        let right = credentials(&folder, "user:right horse\n");
        assert_eq!(outcome(&with(Some(right)), &followed(url)).await, Ok(1), "{url}");
        assert_eq!(outcome(&with(None), &followed(url)).await, Err("proxy-auth".to_owned()), "{url}");
        let wrong = credentials(&folder, "user:wrong");
        assert_eq!(outcome(&with(Some(wrong)), &followed(url)).await, Err("proxy-auth".to_owned()), "{url}");
    }
}

#[tokio::test]
async fn a_proxy_that_fails() {
    for (server, url) in servers() {
        let proxy = Proxy::start(server.address, None, None);
        let agent = fetcher(&through(proxy.address, &[], None), limits());
        assert_eq!(outcome(&agent, &followed(url)).await, Ok(1), "{url}");
        // An answer to a plain request is the answer, whoever gave it.
        let expected = if url.starts_with("https") { "proxy" } else { "http-status" };
        let failing = Proxy::start(server.address, None, Some("502 Bad Gateway"));
        let agent = fetcher(&through(failing.address, &[], None), limits());
        assert_eq!(outcome(&agent, &followed(url)).await, Err(expected.to_owned()), "{url}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let agent = fetcher(&through(free, &[], None), limits());
        assert_eq!(outcome(&agent, &followed(url)).await, Err("proxy".to_owned()), "{url}");
    }
}

#[tokio::test]
async fn a_proxy_that_looks_into_tls() {
    let server = Server::start("127.0.0.1", Some(tls(Fault::None)), always(release(1)));
    let proxy = Proxy::start(server.address, None, None);
    let feed = followed("https://feed.example/feed.xml");
    assert_eq!(outcome(&fetcher(&through(proxy.address, &[], None), limits()), &feed).await, Ok(1));
    let inspecting = Server::start("127.0.0.1", Some(tls(Fault::Foreign)), always(release(1)));
    let proxy = Proxy::start(inspecting.address, None, None);
    let agent = fetcher(&through(proxy.address, &[], None), limits());
    assert_eq!(outcome(&agent, &feed).await, Err("tls".to_owned()));
}

#[tokio::test]
async fn a_redirect_to_a_private_address_through_the_proxy() {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    let proxy = Proxy::start(server.address, None, None);
    let agent = fetcher(&through(proxy.address, &["*.private.example"], None), limits());
    let feed = followed("http://feed.example/feed.xml");
    assert_eq!(outcome(&agent, &feed).await, Ok(1));
    // By its address, and by the name of a host that is asked directly.
    for to in ["http://127.0.0.2/feed.xml", "http://intranet.private.example/feed.xml"] {
        server.answer(redirect(to));
        assert_eq!(outcome(&agent, &feed).await, Err("redirect-private".to_owned()), "{to}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_spoken_to_by_tls() {
    let feed = followed("http://feed.private.example/feed.xml");
    let with = |fault| {
        let proxy = Server::start("127.0.0.1", Some(tls(fault)), always(release(1)));
        let address = format!("https://{}", proxy.address).parse().unwrap();
        (proxy, fetcher(&NetworkConfig { proxy: Some(address), ..network() }, limits()))
    };
    let (proxy, agent) = with(Fault::None);
    assert_eq!(outcome(&agent, &feed).await, Ok(1));
    assert_eq!(proxy.take_asked()[0].target, "http://feed.private.example/feed.xml");
    let (proxy, agent) = with(Fault::Foreign);
    assert_eq!(outcome(&agent, &feed).await, Err("tls".to_owned()));
    assert!(proxy.take_asked().is_empty());
}

#[test]
fn credentials_that_others_can_read_are_refused_and_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = credentials(&folder, "user:right horse");
    let network = through("127.0.0.1:1".parse().unwrap(), &[], Some(path.clone()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shown = format!("{:?}", Fetcher::new(&network).unwrap());
    assert!(!shown.contains("horse"), "{shown}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Fetcher::new(&network).unwrap_err().to_string();
    assert!(error.contains("found 0644") && !error.contains("horse"), "{error}");
    for line in ["no colon horse", ":no user horse", "user:a\nuser:horse"] {
        let error =
            Fetcher::new(&NetworkConfig { credentials: Some(credentials(&folder, line)), ..network.clone() });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("expected one line, `user:password`") && !error.contains("horse"), "{error}");
    }
}

#[tokio::test]
async fn files_that_change_make_another_fetcher() {
    let folder = tempfile::tempdir().unwrap();
    let path = credentials(&folder, "user:a");
    let network = through("127.0.0.1:1".parse().unwrap(), &[], Some(path));
    let agent = fetcher(&network, limits());
    assert!(agent.renewed(&network).unwrap().is_none());
    credentials(&folder, "user:b");
    assert!(agent.renewed(&network).unwrap().is_some());
    assert!(agent.renewed(&NetworkConfig::default()).unwrap().is_some());
}

/// The variables are those of a process: this test runs itself again with them.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    const INNER: &str = "STOPGAP_TEST_WITH_PROXY_VARIABLES";
    if std::env::var_os(INNER).is_some() {
        let server = Server::start("127.0.0.1", None, always(release(1)));
        let feed = followed(format!("http://{}/feed.xml", server.address));
        assert_eq!(outcome(&fetcher(&network(), limits()), &feed).await, Ok(1));
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "proxies::proxies_of_the_environment_are_not_used"]).env(INNER, "1");
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        // Nobody listens there.
        command.env(name, "http://127.0.0.1:1").env(name.to_uppercase(), "http://127.0.0.1:1");
    }
    command.env_remove("REQUEST_METHOD").env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
