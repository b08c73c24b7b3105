//! A real hub that is killed under load, and one whose disk is full.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::world::{Hub, Process, STOPGAP, World, free_port, text, try_http, wait_until};

#[test]
fn a_hub_that_is_killed_under_load_has_what_it_acknowledged() {
    let world = World::new();
    let mut hub = Hub::start(&world);
    let credential = join(&hub, "Server1");
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for life in 0..3 {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (token, address, kept) = (hub.token.clone(), hub.address, Arc::clone(&acknowledged));
                std::thread::spawn(move || {
                    let bearer = format!("Authorization: Bearer {token}\r\n");
                    for n in 0..50 {
                        let name = format!("group-{life}-{writer}-{n}");
                        let group = json!({ "label_key": "site", "label_value": name });
                        let path = format!("/v1/groups/{name}");
                        match try_http(address, "PUT", &path, &bearer, Some(&group)) {
                            Some(said) => assert_eq!(said.status, 200, "{said:#?}"),
                            // It was killed.
                            None => return,
                        }
                        kept.lock().unwrap().push(name);
                    }
                })
            })
            .collect();
        let reporter = {
            let (address, credential) = (hub.address, credential.clone());
            std::thread::spawn(move || {
                let mut through = life * 1000;
                while let Some(said) = tell(address, &credential, through + 1) {
                    through = said;
                }
                through
            })
        };
        let before = acknowledged.lock().unwrap().len();
        wait_until("some changes are acknowledged", || acknowledged.lock().unwrap().len() >= before + 20);
        hub.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let through = reporter.join().unwrap();
        hub.run();
        let listed = hub.api("GET", "/v1/groups", "", None).json;
        let there: Vec<&str> =
            listed.as_array().unwrap().iter().filter_map(|group| group["name"].as_str()).collect();
        let lost: Vec<String> = acknowledged.lock().unwrap().clone();
        let lost: Vec<&String> = lost.iter().filter(|name| !there.contains(&name.as_str())).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(tell(hub.address, &credential, 1).unwrap() >= through, "a report is lost");
        let verified = hub.api("GET", "/v1/audit/verify", "", None).json;
        assert_eq!(verified["ok"], true, "{verified}");
    }
}

/// A server's credential.
fn join(hub: &Hub, name: &str) -> String {
    let made = hub.api("POST", "/v1/enrollments", "", Some(&json!({ "uses": 1, "hours": 1 })));
    let secret = made.json["secret"].as_str().unwrap().split('.').next().unwrap().to_owned();
    let machine = "a".repeat(64);
    let body = json!({ "token": secret, "name": name, "machine": machine, "agent_version": "0.1.0" });
    let said = hub.api("POST", "/v1/agent/enroll", "", Some(&body));
    said.json["credential"].as_str().unwrap().to_owned()
}

/// Sends one report: through which number they are kept.
fn tell(address: SocketAddr, credential: &str, sequence: u64) -> Option<u64> {
    let report = json!({ "sequence": sequence, "at": "2026-11-22T03:00:00Z", "agent_version": "0.1.0",
        "mitigations_enabled": true });
    let body = json!({ "machine": "a".repeat(64), "reports": [report] });
    let bearer = format!("Authorization: Bearer {credential}\r\n");
    try_http(address, "POST", "/v1/agent/reports", &bearer, Some(&body))?.json["through"].as_u64()
}

/// A hub whose data folder is a disk of 8 MiB of its own; `None`: this machine has no mount namespaces for us.
fn on_a_small_disk(world: &World, test: &str) -> Option<(Process, SocketAddr, PathBuf, String)> {
    let may = Command::new("unshare").args(["--mount", "true"]).output();
    if !may.is_ok_and(|may| may.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no mount namespaces: unshare --mount, as root");
        println!("skipped (no mount namespaces): {test}");
        return None;
    }
    let data = world.path("small");
    std::fs::create_dir_all(&data).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let script = format!(
        "set -e; mount -t tmpfs -o size=8m tmpfs {data}; {STOPGAP} hub token create --data {data} --role administrator \
         > {token}; exec {STOPGAP} hub run --data {data} --listen {address}",
        data = text(&data),
        token = text(&world.path("small-token")),
    );
    let log = std::fs::File::create(world.path("small-log")).unwrap();
    let hub = Process::start(Command::new("unshare").args(["--mount", "sh", "-c", &script]).stderr(log));
    wait_until("the hub listens", || {
        try_http(address, "GET", "/readyz", "", None).is_some_and(|said| said.status == 200)
    });
    let token = std::fs::read_to_string(world.path("small-token")).unwrap().trim().to_owned();
    // The disk is there in the process's own view alone.
    let seen = PathBuf::from(format!("/proc/{}/root{}", hub.id(), text(&data)));
    Some((hub, address, seen, token))
}

#[test]
fn a_full_disk_is_told_and_nothing_that_was_kept_is_lost() {
    let world = World::new();
    let test = "a_full_disk_is_told_and_nothing_that_was_kept_is_lost";
    let Some((_hub, address, disk, token)) = on_a_small_disk(&world, test) else { return };
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let put = |name: &str| {
        let group = json!({ "label_key": "site", "label_value": name });
        try_http(address, "PUT", &format!("/v1/groups/{name}"), &bearer, Some(&group)).unwrap()
    };
    let groups = || try_http(address, "GET", "/v1/groups", &bearer, None).unwrap().json.to_string();
    assert_eq!(put("before").status, 200);
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    // There is room in the files that are there for some more.
    let mut kept = Vec::new();
    let refused = loop {
        let name = format!("group{}", kept.len());
        let said = put(&name);
        if said.status != 200 {
            break said;
        }
        kept.push(name);
        assert!(kept.len() < 400, "the disk is never full");
    };
    assert_eq!(refused.status, 507, "{refused:#?}");
    assert_eq!(refused.json["type"], "/problems/no-room", "{refused:#?}");
    let there = groups();
    assert!(kept.iter().all(|name| there.contains(&format!("\"{name}\""))), "{there}");
    std::fs::remove_file(disk.join("filler")).unwrap();
    drop(filler);
    assert_eq!(put("after").status, 200);
    let there = groups();
    assert!(there.contains("before") && there.contains("after"), "{there}");
    let verified = try_http(address, "GET", "/v1/audit/verify", &bearer, None).unwrap().json;
    assert_eq!(verified["ok"], true, "{verified}");
}
