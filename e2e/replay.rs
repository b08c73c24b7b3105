//! What servers log, read back: the verdict over a line is the engine's over the request. And the two commands about
//! it, as an operator types them.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_agent::replay::{Candidate, Captures, Finding, Format, Question};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet};

use crate::world::*;

/// A server that answers by itself and logs.
struct Logging {
    name: &'static str,
    binary: &'static str,
    args: &'static [&'static str],
    configuration: fn(&Path, SocketAddr) -> String,
    /// Whether its log holds the User-Agent.
    agents: bool,
    /// The names of the request headers that HAProxy captures.
    captures: Option<&'static str>,
}

const NGINX: Logging = Logging {
    name: "nginx",
    binary: "/usr/sbin/nginx",
    args: &["-g", "daemon off;", "-c"],
    configuration: |folder, address| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        format!(
            "pid {0}/pid;\nerror_log {0}/error.log;\nevents {{}}\nhttp {{\n{temporary}access_log {0}/access.log combined;\n\
             server {{ listen {address}; location / {{ return 204; }} }}\n}}\n",
            folder.display()
        )
    },
    agents: true,
    captures: None,
};

/// The same with a format of its own, which is found in its configuration.
const NGINX_OWN: Logging = Logging {
    configuration: |folder, address| {
        let own = "log_format own escape=json '{\"u\":\"$request\",' '\"s\":$status,\"c\":\"$remote_addr\",\"a\":\"$http_user_agent\"}';\n";
        (NGINX.configuration)(folder, address)
            .replace("access_log", &format!("{own}access_log"))
            .replace("access.log combined", "access.log own")
    },
    ..NGINX
};

const APACHE: Logging = Logging {
    name: "apache",
    binary: "/usr/sbin/apache2",
    args: &["-D", "FOREGROUND", "-f"],
    configuration: |folder, address| {
        let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
        let modules = ["mpm_event", "authz_core", "alias"]
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .concat();
        format!(
            "ServerRoot {0}\nDefaultRuntimeDir {0}\nPidFile {0}/pid\nErrorLog {0}/error.log\n{user}ServerName localhost\n\
             {modules}Listen {address}\nStartServers 1\nLogFormat \"%v:%p %h %l %u %t \\\"%r\\\" %>s %O \\\"%{{Referer}}i\\\" \
             \\\"%{{User-Agent}}i\\\"\" vhost_combined\nCustomLog {0}/access.log vhost_combined\nRedirect 404 /\n",
            folder.display()
        )
    },
    agents: true,
    captures: None,
};

const HAPROXY: Logging = Logging {
    name: "haproxy",
    binary: "/usr/sbin/haproxy",
    args: &["-db", "-f"],
    configuration: |_, address| {
        format!(
            "global\n    log stdout format raw local0\n    tune.bufsize 32768\ndefaults\n    mode http\n    log global\n    \
             option httplog\n    timeout client 30s\n    timeout connect 30s\n    timeout server 30s\nfrontend www\n    \
             bind {address}\n    http-request return status 200\n"
        )
    },
    agents: false,
    captures: None,
};

/// The same with headers that its log gives no names for, of the answer too.
const HAPROXY_CAPTURES: Logging = Logging {
    configuration: |folder, address| {
        (HAPROXY.configuration)(folder, address)
            + "    capture request header Host len 64\n    capture request header User-Agent len 200\n    capture request \
               header X-None len 20\n    capture response header Server len 20\n"
    },
    agents: true,
    captures: Some("Host,User-Agent,X-None"),
    ..HAPROXY
};

struct Running {
    folder: PathBuf,
    address: SocketAddr,
    child: Child,
    log: &'static str,
}

impl Logging {
    /// Nothing, said aloud, where there is no such server.
    fn start(&self, world: &World, test: &str) -> Option<Running> {
        if !Path::new(self.binary).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no {}: {test}", self.name);
            println!("skipped (no {}): {test}", self.name);
            return None;
        }
        let folder = world.path(self.name);
        fs::create_dir_all(&folder).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = folder.join("server.conf");
        fs::write(&file, (self.configuration)(&folder, address)).unwrap();
        let output = fs::File::create(folder.join("stdout")).unwrap();
        let errors = fs::File::create(folder.join("stderr")).unwrap();
        let mut command = Command::new(self.binary);
        let child =
            command.args(self.args).arg(&file).stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let log = if self.name == "haproxy" { "stdout" } else { "access.log" };
        let mut running = Running { folder, address, child: child.unwrap(), log };
        wait_until("the server listens", || TcpStream::connect(address).is_ok());
        // Somebody else's server may have taken the port in between, and answered just now.
        if let Some(status) = running.child.try_wait().unwrap() {
            panic!("{} ended with {status}: {}", self.name, running.said());
        }
        Some(running)
    }
}

impl Running {
    fn log(&self) -> PathBuf {
        self.folder.join(self.log)
    }

    /// What the server wrote about itself.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_else(|e| e.to_string())
    }

    fn ask_raw(&self, head: &[u8]) {
        let mut stream = TcpStream::connect(self.address).unwrap_or_else(|e| panic!("{e}: {}", self.said()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head).unwrap();
        // To its end: the request is over then.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }

    /// The lines that stand for these requests: each holds its number.
    fn lines(&self, count: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        wait_until("every request is logged", || {
            let log = fs::read(self.log()).unwrap();
            let whole = log.split(|b| *b == b'\n').map(<[u8]>::to_vec);
            lines = whole.filter(|line| number_of(line).is_some()).collect();
            lines.len() >= count
        });
        lines.sort_by_key(|line| number_of(line));
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The parent ends its workers; killing it outright would leave them with the listener.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// `/n17/…`: which request it was.
fn number_of(line: &[u8]) -> Option<usize> {
    let line = String::from_utf8_lossy(line).into_owned();
    let (_, rest) = line.split_once("/n")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Inputs and patterns, each of which some requests below match.
const RULES: [(&str, &str); 6] = [
    ("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"),
    ("{REQUEST_URI}", r#"["\\#]|%5c|\xe9|\ufffd"#),
    ("{QUERY_STRING}", "^a="),
    ("{REQUEST_METHOD}", "^(POST|HEAD)$"),
    ("{HTTP_USER_AGENT}", r#"evil|"\\|^$"#),
    ("{HTTP_COOKIE}", "x"),
];
const AGENT: usize = 4;
const COOKIE: usize = 5;

fn candidates() -> Vec<Candidate> {
    let one = |(at, (input, pattern)): (usize, &(&str, &str))| Candidate {
        key: format!("example:M{at}").parse().unwrap(),
        action: format!("M{at}.1").parse().unwrap(),
        rules: Ok(format!(
            "<rewrite><rules><rule name=\"M{at}\"><match url=\".*\"/><conditions><add input=\"{input}\" \
             pattern=\"{}\"/></conditions><action type=\"AbortRequest\"/></rule></rules></rewrite>",
            pattern.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
        )),
    };
    RULES.iter().enumerate().map(one).collect()
}

/// Heads of requests that servers of today answer or refuse, of pieces that are hard to log.
fn heads(count: usize) -> Vec<Vec<u8>> {
    const PIECES: [&[u8]; 16] = [
        b"autodiscover",
        b"AutoDiscover%2ejson",
        b"p%6Fwershell",
        b"powershell",
        b"%5c",
        b"\\",
        b"\"",
        b"\xc3\xa9",
        b"\xff",
        b"?a=1",
        b"b",
        b"#",
        b"%zz",
        b"x+y",
        b"%22",
        b"{|}",
    ];
    const AGENTS: [&[u8]; 6] =
        [b"curl/8", b"evil", b"a \"\\ b", b"-", b"\xc3\xa9 [x] ]", b"Mozilla/5.0 (X; Y) Z+1"];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    (0..count)
        .map(|number| {
            let mut head = Vec::new();
            head.extend_from_slice([&b"GET"[..], b"POST", b"HEAD", b"PURGE"][next(4)]);
            head.extend_from_slice(format!(" /n{number}/").as_bytes());
            for _ in 0..next(5) {
                head.extend_from_slice(PIECES[next(PIECES.len())]);
            }
            head.extend_from_slice(b" HTTP/1.1\r\nHost: mail.example.org\r\nUser-Agent: ");
            head.extend_from_slice(AGENTS[next(AGENTS.len())]);
            head.extend_from_slice(b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            head
        })
        .collect()
}

fn engine(candidate: &Candidate) -> Engine {
    let rules = RuleSet::parse(candidate.rules.as_ref().unwrap()).unwrap();
    Engine::compile(&rules, &EngineLimits::default()).unwrap()
}

/// How many requests of `heads` each rule refuses, by what was logged of them.
fn what_is_logged_is_judged_as_the_request_was(server: &Logging, test: &str) {
    const COUNT: usize = 250;
    let world = World::new();
    let Some(running) = server.start(&world, test) else { return };
    let (heads, candidates) = (heads(COUNT), candidates());
    // Not all of them are logged as requests: HAProxy calls one that it refuses to read <BADREQ>.
    heads.iter().for_each(|head| running.ask_raw(head));
    running.ask_raw(b"GET /n999999/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    wait_until("the last request is logged", || {
        String::from_utf8_lossy(&fs::read(running.log()).unwrap()).contains("/n999999/")
    });
    let lines = running.lines(1);
    let others = match server.name {
        "nginx" => own_formats(&world, &running),
        _ => Vec::new(),
    };
    let format = server.captures.map(|names| {
        Format::named("haproxy").unwrap().with_captures(Captures::parse(names).unwrap()).unwrap()
    });
    let engines: Vec<Engine> = candidates.iter().map(engine).collect();
    let (mut judged, mut refused, mut passed) = (0, [0; RULES.len()], [0; RULES.len()]);
    for line in &lines {
        let Some(head) = heads.get(number_of(line).unwrap()) else { continue };
        let shown = String::from_utf8_lossy(line).into_owned();
        let question =
            Question::read(line, format.clone(), others.clone()).unwrap_or_else(|e| panic!("{e}: {shown}"));
        let connection = Connection::default();
        let request = Request::parse_head(head, &connection).unwrap();
        judged += 1;
        for (at, (finding, why)) in question.judge(&candidates).into_iter().enumerate() {
            let expected = engines[at].evaluate(&request).is_refusal();
            if at == COOKIE || (at == AGENT && !server.agents) {
                assert_eq!(finding, Finding::Undecided, "{shown}");
                assert!(
                    why.unwrap().starts_with(
                        ["reads HTTP_COOKIE", "reads HTTP_USER_AGENT"][usize::from(at == AGENT)]
                    )
                );
                continue;
            }
            // `-` is what a server writes where there is no header, and where it read none after a request line
            // that it refused: of a request that says so nobody can tell.
            let unread = shown.contains("\" 400 ") || shown.contains("\"s\":400");
            if at == AGENT && (unread || head.windows(15).any(|w| w == b"User-Agent: -\r\n")) {
                continue;
            }
            assert_eq!(
                matches!(finding, Finding::Refuses { .. }),
                expected,
                "{}: {shown}\n{}",
                RULES[at].0,
                String::from_utf8_lossy(head)
            );
            if expected { refused[at] += 1 } else { passed[at] += 1 }
        }
    }
    println!("{}: {judged} of {COUNT} requests logged whole; refused {refused:?}", server.name);
    assert!(judged > COUNT / 4, "{judged}");
    for at in 0..AGENT {
        assert!(refused[at] > 0 && passed[at] > 0, "rule {at} shows nothing: {refused:?} {passed:?}");
    }
}

/// What the configuration of this nginx adds to the known formats, as the agent reads it.
fn own_formats(world: &World, running: &Running) -> Vec<Format> {
    world.config(&format!(
        "[[target]]\nkind = \"nginx\"\nconfig = {:?}\n",
        text(&running.folder.join("server.conf"))
    ));
    let config = stopgap_agent::config::Config::load(&world.path("etc/stopgap.toml"), "Server1").unwrap();
    stopgap_agent::replay::formats_of(&config)
}

#[test]
fn what_nginx_logs_is_judged_as_the_request_was() {
    what_is_logged_is_judged_as_the_request_was(&NGINX, "what_nginx_logs_is_judged_as_the_request_was");
}

#[test]
fn what_nginx_logs_in_a_format_of_its_own_is_judged_as_the_request_was() {
    let test = "what_nginx_logs_in_a_format_of_its_own_is_judged_as_the_request_was";
    what_is_logged_is_judged_as_the_request_was(&NGINX_OWN, test);
}

#[test]
fn what_apache_logs_is_judged_as_the_request_was() {
    what_is_logged_is_judged_as_the_request_was(&APACHE, "what_apache_logs_is_judged_as_the_request_was");
}

#[test]
fn what_haproxy_logs_is_judged_as_the_request_was() {
    what_is_logged_is_judged_as_the_request_was(&HAPROXY, "what_haproxy_logs_is_judged_as_the_request_was");
}

#[test]
fn headers_that_haproxy_captures_are_judged_by_the_names_that_an_operator_gives() {
    let test = "headers_that_haproxy_captures_are_judged_by_the_names_that_an_operator_gives";
    what_is_logged_is_judged_as_the_request_was(&HAPROXY_CAPTURES, test);
}

/// A gateway, M1 that reads the address, M3 that reads cookies; nothing is applied yet.
fn stage() -> (World, Origin, Gateway) {
    let (world, origin) = (World::new(), Origin::start());
    let gateway = world.gateway(origin.address);
    let publisher = world.publisher();
    publisher.write_m1(3);
    let rule = "<match url=\".*\"/><conditions><add input=\"{HTTP_COOKIE}\" pattern=\"evil\"/></conditions>\
                <action type=\"AbortRequest\"/>";
    let blocked = "    <Request expect=\"blocked\"><![CDATA[GET / HTTP/1.1\nCookie: evil=1]]></Request>\n";
    let folder = publisher.mitigation("M3");
    publisher.write(
        "M3",
        &config("M3", "cookies", rule, &(blocked.to_owned() + &probe("allowed", BENIGN))),
        &[],
        &[BENIGN],
    );
    let attack = "### a cookie\nGET / HTTP/1.1\nHost: mail.example.org\nCookie: evil=1\n\n";
    fs::write(folder.join("attack.http"), attack).unwrap();
    publisher.publish();
    world.config(&format!("{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    (world, origin, gateway)
}

fn line(target: &str, status: u16) -> String {
    format!(
        "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET {target} HTTP/1.1\" {status} 5 \"-\" \"curl\"\n"
    )
}

#[test]
fn plan_tells_what_it_would_have_refused() {
    let (world, _origin, _gateway) = stage();
    let log: String =
        [(BENIGN, 200), (ATTACK, 404), (BENIGN, 500), (ATTACK, 200)].map(|(t, s)| line(t, s)).concat();
    world.write("access.log", &format!("{log}this is no line of it\n"));
    let path = world.path("access.log");
    let before = snapshot(&world.data(), &[]);
    let report = world.json(0, &["plan", "--replay", text(&path)]);
    assert_eq!((&report["requests"], &report["refused"]), (&4.into(), &2.into()), "{report:#}");
    assert_eq!(report["look_legitimate"], 1);
    assert_eq!(report["samples"].as_array().unwrap().len(), 2);
    assert_eq!(report["samples"][1]["line"], 4);
    assert_eq!(report["samples"][1]["looks_legitimate"], true);
    assert_eq!(report["not_judged"]["M3"], "reads HTTP_COOKIE, which the log does not hold");
    assert_eq!(report["undecided"]["M3"], 4);
    assert_eq!(report["not_understood_lines"][0]["line"], 5);
    assert_eq!(snapshot(&world.data(), &[]), before, "nothing is changed");

    let words = world.ok(&["plan", "--replay", text(&path)]);
    assert!(words.stdout.starts_with("would have refused 2 of 4 requests; 1 looks legitimate"), "{words:?}");
    assert!(words.stdout.contains("M3 not judged: reads HTTP_COOKIE"), "{words:?}");
    assert!(words.stderr.contains("line 5: ") && words.stderr.contains("this is no line of it"), "{words:?}");
    let one = world.json(0, &["plan", "--id", "M3", "--replay", text(&path)]);
    assert_eq!((&one["refused"], one["mitigations"].as_array().unwrap().len()), (&0.into(), 1));
    let csv = world.ok(&["plan", "--csv", "--replay", text(&path)]);
    assert_eq!(csv.stdout.lines().count(), 3, "{csv:?}");
    let check = world.stopgap(&["plan", "--check", "--replay", text(&path)]);
    assert_eq!(check.code, 3, "what is pending is pending: {check:?}");

    let mut piped = world.command(&["plan", "--json", "--replay", "-"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["requests"], &report["refused"]), (&4.into(), &2.into()));

    world.write("odd.log", "hello\nworld\n");
    let odd = world.stopgap(&["plan", "--replay", text(&world.path("odd.log"))]);
    assert_eq!(odd.code, 1);
    assert!(odd.stderr.contains("hello | world") && odd.stderr.contains("--format"), "{odd:?}");
    let usage = world.stopgap(&["plan", "--replay", text(&path), "--format", "x"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    let usage = world.stopgap(&["plan", "--replay", text(&path), "--captures", "Host,,"]);
    assert!(usage.code == 2 && usage.stderr.contains("no header's name"), "{usage:?}");
    let other = world.stopgap(&["plan", "--replay", text(&path), "--captures", "Host"]);
    assert!(other.code == 1 && other.stderr.contains("read as combined"), "{other:?}");
}

#[test]
fn why_names_the_mitigation_that_refuses() {
    let (world, _origin, gateway) = stage();
    let attack = format!("https://mail.example.org{ATTACK}");
    let before = world.json(6, &["why", &attack]);
    assert_eq!(before["refused_by"], serde_json::json!([]), "nothing is known before a feed was trusted");

    world.ok(&["apply"]);
    let refused = world.json(0, &["why", &attack]);
    let by = &refused["refused_by"][0];
    assert_eq!((&by["feed"], &by["id"], &by["action"]), (&"example".into(), &"M1".into(), &"M1.1".into()));
    assert_eq!(by["places"][0]["target"], "gateway", "{refused:#}");
    assert_eq!(refused["would_refuse"], serde_json::json!([]));
    assert_eq!(get(gateway.address, "mail.example.org", ATTACK), Seen::Closed, "and so it is");
    let words = world.ok(&["why", &line(ATTACK, 400)]);
    assert!(
        words.stdout.contains("refused by example:M1, action M1.1, rule `M1` (AbortRequest)"),
        "{words:?}"
    );
    assert!(words.stdout.contains("on gateway, site mail.example.org"), "{words:?}");

    world.write("request.http", "GET / HTTP/1.1\nHost: mail.example.org\nCookie: evil=1\n");
    let cookie = world.json(0, &["why", "--file", text(&world.path("request.http"))]);
    assert_eq!(cookie["refused_by"][0]["id"], "M3");
    world.write("request.http", &format!("GET {BENIGN} HTTP/1.1\nHost: mail.example.org\n"));
    let nobody = world.stopgap(&["why", "--file", text(&world.path("request.http"))]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (6, "nothing of Stopgap's refuses it here\n"));
    let open = world.stopgap(&["why", &format!("GET {BENIGN}")]);
    assert_eq!(open.code, 6);
    assert!(
        open.stdout.contains("may refuse it: it reads HTTP_COOKIE, which what was given of it does not hold")
    );
    assert_eq!(world.stopgap(&["why", "hello"]).code, 2);
}
