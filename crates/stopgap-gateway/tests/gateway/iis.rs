//! A server with IIS's configuration: our own, laid out as Exchange's, and a real one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopgap_gateway::Limits;
use stopgap_gateway::iis::{Iis, IisError, IisSettings, Served};
use stopgap_iis::place::{Piece, Placement, Scope, place};
use stopgap_iis::{Environment, MemoryTree};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::exchange::{HOST, OWA, host, location, rewrite, tree};
use crate::harness::{Client, Received, field, patiently};

const SITE: &str = "Default Web Site";
const M2: &str = r#"<outboundRules>
  <preConditions>
    <preCondition name="OWA SPA HTML shell - precondition">
      <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" />
      <add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)" />
    </preCondition>
  </preConditions>
  <rule name="OWA CSP - outbound" preCondition="OWA SPA HTML shell - precondition">
    <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)" />
    <action type="Rewrite" value="{R:1}; script-src-attr 'none'" />
  </rule>
</outboundRules>"#;

/// A server whose files are in memory; a file in a folder of its own says that one has changed.
struct Server {
    files: Arc<Mutex<MemoryTree>>,
    folder: TempDir,
    served: Vec<Served>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn bind(
    files: MemoryTree,
    listen: &[(&str, &str)],
) -> (Arc<Mutex<MemoryTree>>, TempDir, Result<Iis, IisError>) {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(Mutex::new(files));
    let opened = files.clone();
    let bound = Iis::bind(IisSettings {
        files: Arc::new(move || Box::new(opened.lock().unwrap().clone())),
        environment: Environment::windows(),
        folder: folder.path().to_owned(),
        listen: listen.iter().map(|(site, address)| ((*site).to_owned(), address.parse().unwrap())).collect(),
        limits: Limits::default(),
    });
    let bound = bound.await;
    (files, folder, bound)
}

impl Server {
    async fn start(files: MemoryTree) -> Server {
        Server::with(files, &[(SITE, "127.0.0.1:0")]).await
    }

    async fn with(files: MemoryTree, listen: &[(&str, &str)]) -> Server {
        let (files, folder, bound) = bind(files, listen).await;
        let iis = bound.unwrap();
        let served = iis.served();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(iis.run(async move { drop(stopped.await) }));
        Server { files, folder, served, stop: Some(stop), task }
    }

    fn write(&self, path: &str, octets: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path, octets);
        std::fs::write(self.folder.path().join("changed"), "").unwrap();
    }

    /// Puts a mitigation's rules where `place` says.
    fn place(&self, scope: Scope, rules: &str) -> Placement {
        let piece =
            Piece { marker: "example M2.1".to_owned(), scope, rules: format!("<rewrite>{rules}</rewrite>") };
        let files = self.files.lock().unwrap().clone();
        let placement = place(&files, &Environment::windows(), &[piece]).unwrap();
        for edit in &placement.files {
            self.write(&edit.path, edit.apply(files.get(&edit.path).unwrap()).unwrap());
        }
        placement
    }

    async fn get(&self, target: &str) -> Option<Received> {
        ask(self.served[0].address, &format!("GET {target} HTTP/1.1\r\nHost: mail.example.org\r\n\r\n")).await
    }

    /// Waits until the answer is of this kind.
    async fn until(&self, target: &str, wanted: impl Fn(&Option<Received>) -> bool) -> Option<Received> {
        let asking = async {
            loop {
                let received = self.get(target).await;
                if wanted(&received) {
                    return received;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        patiently(target, asking).await
    }

    async fn status(&self, target: &str) -> Option<u16> {
        self.get(target).await.map(|received| received.status)
    }

    async fn stopped(mut self) {
        drop(self.stop.take());
        patiently("the end", &mut self.task).await.unwrap();
    }
}

async fn ask(address: SocketAddr, request: &str) -> Option<Received> {
    let mut client = Client::of(TcpStream::connect(address).await.unwrap());
    client.send(request).await;
    client.response().await
}

fn policy(received: &Option<Received>) -> Option<String> {
    received.as_ref().and_then(|one| field(&one.head, "content-security-policy").map(str::to_owned))
}

fn has_m2(received: &Option<Received>) -> bool {
    policy(received).is_some_and(|policy| policy.ends_with("; script-src-attr 'none'"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_without_rules_is_a_page_that_names_it() {
    let server = Server::start(tree("", &[])).await;
    let page = server.get("/owa/Calendar/x%3Cy?q=1").await;
    assert_eq!(policy(&page).as_deref(), Some("script-src 'self' 'unsafe-inline'"));
    let page = page.unwrap();
    assert_eq!(field(&page.head, "content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.body.contains("GET /owa/Calendar/x%3Cy?q=1 reached Default Web Site/owa/Calendar<"),
        "{}",
        page.body
    );
    let page = server.get("/OWAX").await;
    assert_eq!(policy(&page), None);
    assert!(page.unwrap().body.contains("reached Default Web Site<"));
    let post = "POST /ecp/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(ask(server.served[0].address, post).await.unwrap().status, 200);
    let socket = "GET /owa/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(ask(server.served[0].address, socket).await.unwrap().status, 200);
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_in_the_shared_folder_is_500_19_for_what_is_nested_and_names_the_key() {
    let server = Server::start(tree("", &[(OWA, &rewrite(M2))])).await;
    assert!(has_m2(&server.get("/owa/").await));
    assert!(!has_m2(&server.get("/owa/auth/logon.aspx").await));
    for nested in ["/owa/Calendar", "/OWA/calendar/x.ics", "/owa/Integrated/", "/owa/oma"] {
        let broken = server.get(nested).await.unwrap();
        assert_eq!(broken.status, 500, "{nested}");
        assert!(broken.body.starts_with("500.19 duplicate-key\n"), "{}", broken.body);
        assert!(broken.body.contains(&format!("\n{OWA}:6:5: ")), "{}", broken.body);
        assert!(broken.body.contains("\nkey: OWA SPA HTML shell - precondition\n"), "{}", broken.body);
        assert!(broken.body.contains("(modeled, not run on IIS)"));
    }
    assert_eq!(server.status("/ecp/").await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_as_it_is_placed_here_breaks_nothing_and_a_change_is_seen_while_it_runs() {
    let server = Server::start(tree("", &[(OWA, &rewrite(""))])).await;
    assert!(!has_m2(&server.get("/owa/").await));
    let before = server.files.lock().unwrap().clone();
    assert_eq!(server.place(Scope::VirtualDirectory(format!("{SITE}/owa")), M2).files.len(), 1);
    server.until("/owa/", has_m2).await;
    for nested in ["/owa/Calendar", "/owa/Integrated", "/owa/oma", "/ecp", "/"] {
        assert_eq!(server.status(nested).await, Some(200), "{nested}");
    }
    server.write(HOST, before.get(HOST).unwrap());
    server.until("/owa/", |page| !has_m2(page)).await;
}

const ABORT: &str = "<globalRules><rule name=\"G\"><match url=\"autodiscover\"/><conditions><add input=\"{UrlDecode:{REQUEST_URI}}\" \
    pattern=\"powershell\"/></conditions><action type=\"AbortRequest\"/></rule></globalRules>";

#[tokio::test(flavor = "multi_thread")]
async fn a_global_rule_of_the_server_drops_the_connection_at_every_application() {
    let global = format!("<system.webServer><rewrite>{ABORT}</rewrite></system.webServer>\n");
    let server = Server::start(tree(&global, &[])).await;
    for path in
        ["/autodiscover/x?power%73hell", "/owa/autodiscover?powershell", "/ecp/Autodiscover/powershell"]
    {
        assert_eq!(server.get(path).await, None, "{path}");
    }
    for path in ["/autodiscover/x", "/owa/x?powershell"] {
        assert_eq!(server.status(path).await, Some(200), "{path}");
    }
    // What is broken answers before any rule is asked.
    server.write(OWA, rewrite("<rules><rule/></rules>"));
    server.until("/owa/autodiscover?powershell", Option::is_some).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_whose_pool_does_not_start_is_503() {
    let pools = |auto: &str| {
        let text = host("");
        let list = format!(
            "<applicationPools><add name=\"DefaultAppPool\"/><add name=\"Own\" autoStart=\"{auto}\"/></applicationPools>\n"
        );
        text.replacen("<sites>", &format!("{list}<sites>"), 1)
    };
    let server = Server::start(tree("", &[(HOST, &pools("false"))])).await;
    let stopped = server.get("/autodiscover").await.unwrap();
    assert_eq!(stopped.status, 503);
    assert!(stopped.body.contains("the application pool \"Own\" does not run"), "{}", stopped.body);
    assert_eq!(server.status("/owa/").await, Some(200), "another pool");
    server.write(HOST, pools("true"));
    server.until("/autodiscover", |page| page.as_ref().is_some_and(|page| page.status == 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_site_starts_while_application_host_config_is_broken() {
    let server = Server::start(tree("", &[])).await;
    server.write(HOST, host("<open>"));
    let broken =
        server.until("/owa/", |page| page.as_ref().is_some_and(|page| page.status == 503)).await.unwrap();
    assert!(broken.body.contains(&format!("\n503 malformed\n{HOST}:")), "{}", broken.body);
    assert_eq!(server.status("/anything").await, Some(503));
    server.write(HOST, host(""));
    server.until("/owa/", |page| page.as_ref().is_some_and(|page| page.status == 200)).await;
    // It can also start so, where the caller says where to listen.
    let server = Server::start(tree("", &[(HOST, "<configuration>")])).await;
    assert!(server.served.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_has_its_own_rules_and_a_rewritten_address_its_own_fate() {
    let answer = |name: &str, url: &str, status: u16| {
        format!(
            "<rule name=\"{name}\"><match url=\"{url}\"/><action type=\"CustomResponse\" statusCode=\"{status}\"/></rule>"
        )
    };
    let to = |name: &str, url: &str, to: &str| {
        format!(
            "<rule name=\"{name}\" stopProcessing=\"true\"><match url=\"{url}\"/><action type=\"Rewrite\" url=\"{to}\"/></rule>"
        )
    };
    let at = format!("path=\"{SITE}/owa/auth\"");
    let site = format!(
        "{}{}{}",
        to("to owa", "^mail/(.*)", "/owa/{R:1}"),
        to("to ecp", "^admin$", "/ecp/"),
        answer("top", "^x$", 451)
    );
    let more = format!(
        "{}{}",
        location(&at, &format!("<rules>{}</rules>", answer("auth", "^x$", 410))),
        location(&format!("path=\"{SITE}\""), &format!("<rules>{site}</rules>"))
    );
    let broken = rewrite("<rules><rule/></rules>");
    let server = Server::start(tree(&more, &[(crate::exchange::ECP, &broken)])).await;
    for (path, status) in [
        ("/x", 451),
        ("/owa/x", 200),
        ("/owa/auth/x", 410),
        ("/OWA/Auth/x", 410),
        ("/ecp/", 500),
        ("/admin", 500),
    ] {
        assert_eq!(server.status(path).await, Some(status), "{path}");
    }
    let page = server.get("/mail/7").await.unwrap();
    assert!(page.body.contains("GET /owa/7 reached Default Web Site/owa<"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_server_can_tell_is_501_and_no_guess() {
    let rule = "<rules><rule name=\"F\"><match url=\".*\"/><conditions><add input=\"{REQUEST_FILENAME}\" matchType=\"IsFile\"/>\
        </conditions><action type=\"AbortRequest\"/></rule></rules>";
    let server = Server::start(tree("", &[(OWA, &rewrite(rule).replace("F\"", "F 1\""))])).await;
    // Three applications read that file twice.
    assert_eq!(server.status("/owa/oma").await, Some(500));
    let unknown = server.get("/owa/").await.unwrap();
    assert_eq!(unknown.status, 501);
    assert!(unknown.body.contains("\"F 1\""), "{}", unknown.body);
    assert_eq!(server.status("/ecp/").await, Some(200));
}

/// Two free ports.
fn ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_as_they_stand_choose_the_site_by_port_and_host() {
    let [one, two] = ports();
    let text = host("")
        .replace("\"*:80:\"", &format!("\"127.0.0.1:{one}:\""))
        .replace(
            "protocol=\"https\" bindingInformation=\"*:443:mail.example.org\"",
            &format!("protocol=\"http\" bindingInformation=\"127.0.0.1:{two}:front.example.org\""),
        )
        .replace(
            "protocol=\"https\" bindingInformation=\"*:444:\"",
            &format!("protocol=\"http\" bindingInformation=\"127.0.0.1:{two}:*.back.example.org\""),
        );
    let server = Server::with(tree("", &[(HOST, &text)]), &[]).await;
    let served: Vec<_> =
        server.served.iter().map(|s| (s.site.as_str(), s.address.port(), s.host.as_str())).collect();
    assert_eq!(
        served,
        [(SITE, one, ""), (SITE, two, "front.example.org"), ("Exchange Back End", two, "*.back.example.org")]
    );
    for (port, name, reached) in [
        (one, "whatever", Some(SITE)),
        (two, "FRONT.example.org:1", Some(SITE)),
        (two, "a.back.example.org", Some("Exchange Back End")),
        (two, "back.example.org", None),
        (two, "other", None),
    ] {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let page = ask(address, &format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await.unwrap();
        match reached {
            Some(site) => assert!(page.body.contains(&format!("reached {site}<")), "{name}: {}", page.body),
            None => assert_eq!(page.status, 400, "{name}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_refused_with_its_reason() {
    let refused = |files, listen: &'static [(&'static str, &'static str)]| async move {
        let (.., bound) = bind(files, listen).await;
        let error = bound.err().unwrap();
        (error.code(), error.to_string())
    };
    let (code, text) = refused(tree("", &[]), &[("Nobody", "127.0.0.1:0")]).await;
    assert_eq!(
        (code, text.as_str()),
        ("iis-no-site", "there is no site \"Nobody\"; there are: Default Web Site, Exchange Back End")
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let files = tree("", &[(HOST, &host("").replace("\"*:80:\"", &format!("\"127.0.0.1:{port}:\"")))]);
    let (code, text) = refused(files, &[]).await;
    assert_eq!((code, text), ("listen", format!("site {SITE}: cannot listen on 127.0.0.1:{port}")));
    let (code, text) = refused(tree("", &[(HOST, &host("").replace("\"http\"", "\"https\""))]), &[]).await;
    assert_eq!(code, "iis-no-binding");
    assert!(text.contains("Default Web Site, Exchange Back End"), "{text}");
    assert_eq!(refused(MemoryTree::default(), &[]).await.0, "iis-no-server");
    assert_eq!(refused(tree("", &[(HOST, "<")]), &[]).await.0, "iis-unusable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_exchange_server_with_m2_as_microsoft_and_as_we_put_it() {
    let test = "a_real_exchange_server_with_m2_as_microsoft_and_as_we_put_it";
    let Some(corpus) = crate::iis_corpus::corpus(test) else { return };
    let clean = crate::iis_corpus::laid_out(&corpus);
    let server =
        Server::with(clean.clone(), &[(SITE, "127.0.0.1:0"), ("Exchange Back End", "127.0.0.1:0")]).await;
    let nested = ["/owa/Calendar", "/owa/Integrated", "/owa/oma"];
    for path in ["/", "/owa/", "/ecp/", "/mapi/emsmdb/", "/autodiscover/"].iter().chain(&nested) {
        assert_eq!(server.status(path).await, Some(200), "{path}");
    }
    let owa = crate::iis_corpus::OWA;
    let document = stopgap_iis::Document::parse(clean.get(owa).unwrap()).unwrap();
    let theirs = format!("<system.webServer>\n<rewrite>\n{M2}\n</rewrite>\n</system.webServer>");
    let edit = document.append_child(document.root().id(), &theirs).unwrap();
    server.write(owa, document.with(&[edit]).unwrap().to_bytes());
    server.until("/owa/", has_m2).await;
    for path in nested {
        let broken = server.get(path).await.unwrap();
        assert_eq!(broken.status, 500, "{path}");
        assert!(broken.body.contains("key: OWA SPA HTML shell - precondition"), "{}", broken.body);
        assert!(broken.body.contains(owa), "{}", broken.body);
    }
    server.write(owa, clean.get(owa).unwrap());
    server.until("/owa/", |page| !has_m2(page)).await;
    server.place(Scope::VirtualDirectory(format!("{SITE}/owa")), M2);
    server.until("/owa/", has_m2).await;
    for path in nested {
        assert_eq!(server.status(path).await, Some(200), "{path}");
    }
}
