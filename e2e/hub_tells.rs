//! People are told of what a real agent does, by a real hub: by mail through a real SMTP server, and by a signed
//! webhook; each thing once, whatever happens to the hub.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::smtp::Smtp;
use crate::world::{Hub, Origin, VULNERABLE, World, stopgap, text, wait_until};

const SECRET: &str = "a secret of at least sixteen letters";

/// A request as it came.
struct Got {
    signature: String,
    delivery: String,
    body: String,
}

/// A webhook's receiver.
struct Hook {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Hook {
    fn start() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks/stopgap", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let all = Arc::clone(&got);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                std::thread::spawn(move || take(stream, &all));
            }
        });
        Hook { url, got }
    }

    /// The bodies, in the order in which they came.
    fn told(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect()
    }
}

/// Takes one request after another of a connection.
fn take(stream: TcpStream, all: &Mutex<Vec<Got>>) {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(1..) if line.trim_end().is_empty() => break,
                Ok(1..) => head.push(line.trim_end().to_owned()),
                _ => return,
            }
        }
        let header = |name: &str| {
            let mut pairs = head.iter().filter_map(|line| line.split_once(": "));
            pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let (signature, delivery) = (header("stopgap-signature"), header("stopgap-delivery"));
        let body = String::from_utf8(body).unwrap();
        all.lock().unwrap().push(Got { signature: signature.unwrap(), delivery: delivery.unwrap(), body });
        let _ = writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}

/// The signature as docs/notifications.md has it, by OpenSSL; `None`: there is none here.
fn signed(secret: &str, seconds: &str, body: &str) -> Option<String> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-r", "-hmac", secret]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = openssl.spawn().ok()?;
    write!(child.stdin.take().unwrap(), "{seconds}.{body}").unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    Some(said.split(' ').next().unwrap().to_owned())
}

/// Messages of the hub, newest first, when it has at least so many and each was delivered.
fn messages(hub: &Hub, least: usize) -> Vec<Value> {
    let mut all = Vec::new();
    wait_until(&format!("{least} messages are delivered"), || {
        all = hub.api("GET", "/v1/notifications", "", None).json["items"].as_array().unwrap().clone();
        let sent = |one: &Value| one["deliveries"].as_array().unwrap().iter().all(|to| to["state"] == "sent");
        all.len() >= least && all.iter().all(sent)
    });
    all
}

#[test]
fn what_an_agent_does_is_told_once_by_mail_and_webhook() {
    let test = "what_an_agent_does_is_told_once_by_mail_and_webhook";
    let Some(smtp) = Smtp::start(test) else { return };
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    let hook = Hook::start();
    world.write("hub/tickets.secret", &format!("{SECRET}\n"));
    world.write(
        "hub/hub.toml",
        &format!(
            "[notify]\nwindow = \"0s\"\nrepeat = \"0s\"\nretry = \"1s\"\ndigest = \"off\"\n\
             {}\n[[webhook]]\nname = \"tickets\"\nurl = \"{}\"\nsecret_file = \"tickets.secret\"\n",
            smtp.table(),
            hook.url
        ),
    );

    // Before there is a hub, too.
    let tried = stopgap(&["hub", "test-notification", "--data", text(&world.path("hub"))]);
    assert_eq!((tried.code, tried.stdout.as_str()), (0, "mail: sent\nwebhook tickets: sent\n"), "{tried:#?}");
    assert!(smtp.mails().iter().all(|mail| mail.contains("X-Test-Session: tls=True user=stopgap")));
    assert_eq!((smtp.mails().len(), hook.told().len()), (1, 1));
    let one = stopgap(&["hub", "test-notification", "--data", text(&world.path("hub")), "--only", "mail"]);
    assert_eq!((one.code, smtp.mails().len(), hook.told().len()), (0, 2, 1), "{one:#?}");

    // What was in force before it joins is nothing new.
    world.ok(&["apply"]);
    let mut hub = Hub::start(&world);
    hub.enroll(&world);
    let _agent = world.agent();
    wait_until("the hub knows PING1", || hub.knows("Server1", "PING1")["status"] == "Applied");
    publisher.add("M1");
    publisher.publish();
    world.ok(&["apply"]);
    // That there is M1, and that it is in force here.
    assert_eq!(messages(&hub, 2).len(), 2);

    // A hub that is killed tells nothing again, and goes on with what happens then.
    hub.kill();
    hub.run();
    world.ok(&["revert", "M1", "--reason", "drill"]);
    let all = messages(&hub, 3);
    let events = |all: &[Value]| all.iter().map(|one| one["event"].as_str().unwrap().to_owned()).collect();
    let told: BTreeSet<String> = events(&all);
    assert_eq!(told, ["applied", "available", "removed"].map(str::to_owned).into(), "{all:#?}");

    let hooked = hook.told();
    assert_eq!((all.len(), hooked.len(), smtp.mails().len()), (3, 1 + 3, 2 + 3), "each once: {hooked:#?}");
    let applied = hooked.iter().find(|one| one["event"] == "applied").unwrap();
    assert_eq!(applied["mitigation"], "example:M1", "{applied}");
    assert_eq!(applied["servers"], serde_json::json!(["Server1"]), "{applied}");
    let subject = format!("Subject: [Stopgap hub] {}", applied["title"].as_str().unwrap());
    let mails = smtp.mails();
    assert_eq!(mails.iter().filter(|mail| mail.contains(&subject)).count(), 1, "{subject}\n{mails:#?}");

    let got = hook.got.lock().unwrap();
    let deliveries: BTreeSet<&str> = got.iter().map(|one| one.delivery.as_str()).collect();
    assert_eq!(deliveries.len(), got.len());
    for one in got.iter() {
        let (seconds, signature) = one.signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let Some(expected) = signed(SECRET, seconds, &one.body) else {
            assert!(std::env::var_os("CI").is_none(), "openssl is missing");
            println!("skipped (no openssl): {test}");
            return;
        };
        assert_eq!(signature, expected);
    }
}
