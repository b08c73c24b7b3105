//! What is read of the processes that run, and what does not follow from what cannot be read.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::targets::*;
use stopgap_drivers::host::Output;
use stopgap_drivers::{Checked, DriverError};
use stopgap_rules::translate::haproxy::HaproxyConfig;
use stopgap_testkit::host::{FakeHost, Fault, Node};

/// Whatever of its process cannot be read: it may run all the same, and then has to be told.
#[test]
fn a_process_number_that_cannot_be_read_is_not_a_server_that_does_not_run() {
    let without_socket = || {
        let target = haproxy();
        let hook = HaproxyConfig::hook(HAPROXY_MAP).unwrap();
        let config = format!("defaults\n mode http\nfrontend one\n bind :80\n{hook}");
        target.host.put("/etc/haproxy/haproxy.cfg", config);
        target.host.put("/run/haproxy.pid", "7\n");
        target.host.put("/proc/7/comm", "haproxy\n");
        target
    };
    let makes = [
        ("nginx", nginx as fn() -> Target, "/run/nginx.pid"),
        ("Apache", apache, "/run/apache2.pid"),
        ("HAProxy", without_socket, "/run/haproxy.pid"),
    ];
    for (name, make, pid_file) in makes {
        for path in [pid_file, "/proc/7/comm"] {
            let words = format!("it cannot be told whether {name} runs");
            let target = make();
            let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
            let refuse = |work: &dyn Fn(&Target)| {
                let calm = make();
                calm.host.set_fault(None);
                work(&calm);
                let calls = calm.host.operations();
                let at = calls.iter().position(|call| *call == format!("read {path}")).unwrap();
                target.host.set_fault(Some(Fault::Once(at)));
            };
            refuse(&|calm| drop(calm.driver.observe(&calm.host)));
            let warnings = target.driver.observe(&target.host).unwrap().warnings.join("; ");
            assert!(warnings.contains(&words) && !warnings.contains("does not run"), "{path}: {warnings}");
            refuse(&|calm| drop(calm.driver.apply(&calm.host, &change)));
            let error = target.driver.apply(&target.host, &change).unwrap_err().to_string();
            assert!(error.contains(&words), "{path}: {error}");
        }
    }
}

/// There is no pid file here: the socket alone tells which process it is.
#[test]
fn a_haproxy_that_answers_and_whose_parent_cannot_be_read_is_not_one_that_does_not_run() {
    let make = || {
        let target = haproxy();
        let host =
            FakeHost::new().on_run(|_, _| Ok(Output { status: Some(0), ..Output::default() })).on_control(
                |_, _, line| Ok(if line == "show info" { "Pid: 8\n" } else { "no permission\n" }.into()),
            );
        for (path, node) in target.host.tree("/") {
            match node {
                Node::File(octets) => host.put(path, octets),
                Node::Link(to) => host.link(path, to),
                Node::Folder => (),
            }
        }
        host.put("/proc/8/status", "PPid:\t7\n");
        host.put("/proc/7/comm", "haproxy\n");
        Target { host, ..target }
    };
    let change = make().plan(&[wanted("M1", "autodiscover")]).unwrap();
    let calm = make();
    calm.host.set_fault(None);
    calm.driver.apply(&calm.host, &change).unwrap();
    for path in ["/proc/8/status", "/proc/7/comm"] {
        let calls = calm.host.operations();
        let at = calls.iter().position(|call| *call == format!("read {path}")).unwrap();
        let target = make();
        target.host.set_fault(Some(Fault::Once(at)));
        let error = target.driver.apply(&target.host, &change).unwrap_err().to_string();
        assert!(error.contains("it cannot be told whether HAProxy runs"), "{path}: {error}");
    }
}

#[test]
fn nginx_without_a_mount_namespace_is_tested_swapped_and_restored() {
    let mut target = nginx();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_run(move |host, command| {
        if command.bind.is_some() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let ours = host.peek("/data/nginx/live/http.conf").is_some();
        log.lock().unwrap().push((command.args[0].clone(), ours));
        let stdout = format!("# configuration file /etc/nginx/nginx.conf:\n{NGINX_CONF}\n").into_bytes();
        let reject = command.args[0] == "-t" && ours && host.peek("/reject").is_some();
        Ok(Output {
            status: Some(i32::from(reject)),
            stdout,
            stderr: b"nginx: [emerg] no".to_vec(),
            truncated: false,
        })
    });
    let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
    let before = target.data();
    assert_eq!(target.driver.check(&target.host, &change).unwrap(), Checked::SwappedAndRestored);
    assert_eq!(target.data(), before);
    let tests: Vec<bool> =
        seen.lock().unwrap().iter().filter(|(arg, _)| arg == "-t").map(|(_, ours)| *ours).collect();
    assert_eq!(tests, [false, true], "tested without and with our files");
    target.host.put("/reject", "");
    let error = target.driver.check(&target.host, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::Rejected { message, .. } if message.contains("[emerg] no")),
        "{error}"
    );
    assert_eq!(target.data(), before);
}

/// The system lists them behind the sockets that listen: 23 MB of them here.
#[test]
fn a_server_with_very_many_connections_is_still_seen_to_listen() {
    let Target { driver, host, .. } = apache();
    let connection = format!(" 1: 0100007F:0050 0100007F:{:0<110}", "8000 06 0 0 0 0 0 0 ");
    let rows = [" 0: a b 0A c d e 0 0 555\n".to_owned(), format!("{connection}\n").repeat(170_000)].concat();
    host.put("/proc/7/net/tcp", format!("sl local\n{rows}"));
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    driver.check(&host, &change).unwrap();
    driver.apply(&host, &change).unwrap();
}

#[test]
fn every_socket_of_very_many_that_listen_is_seen() {
    let Target { driver, host, .. } = apache();
    let others = (0..2_000).map(|n| format!(" 0: 0100007F:0050 00000000:0000 0A c d e 0 0 {}\n", 10_000 + n));
    let rows: String = others.collect();
    host.put("/proc/7/net/tcp", format!("sl local\n{rows} 0: a b 0A c d e 0 0 555\n"));
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    driver.check(&host, &change).unwrap();
    driver.apply(&host, &change).unwrap();
}

/// Apache starts workers when it has too few that are idle, also between a look at them and a restart.
#[test]
fn a_worker_that_apache_started_by_the_old_files_is_not_taken_for_a_new_one() {
    let Target { driver, host, .. } = apache();
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    let late = host.on_run(|host, command| {
        if command.program == Path::new("/bin/sh") {
            host.take("/proc/8");
            apache_worker(host, 9, 8);
            host.take("/proc/7/fd/5");
            host.link("/proc/7/fd/5", "pipe:[9]");
        }
        let stdout = if command.args.len() > 3 { APACHE_DUMP } else { "" };
        Ok(Output { status: Some(0), stdout: stdout.into(), ..Output::default() })
    });
    let error = driver.apply(&late, &change).unwrap_err();
    assert!(matches!(&error, DriverError::NotTaken { .. }), "{error}");
}
