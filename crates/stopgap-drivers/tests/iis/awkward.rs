//! What others do to the same files, and every way in which a file cannot be written.

use std::io;
use std::path::Path;

use stopgap_drivers::iis::{Iis, Settings};
use stopgap_drivers::{Driver, DriverError, Host, Machine};
use stopgap_testkit::host::Fault;

use crate::exchange::{HOST, OWA};
use crate::server::{Server, place};
use crate::{RUNNING, synthetic};

/// `owa`'s file clears what it inherits, so that M2 has to stand in it.
pub fn cleared() -> Vec<(String, Vec<u8>)> {
    let mut files = synthetic("\r\n");
    let text = "<configuration>\r\n  <location path=\".\" inheritInChildApplications=\"false\">\r\n    <system.webServer>\r\n      \
        <rewrite>\r\n        <outboundRules>\r\n          <clear />\r\n        </outboundRules>\r\n      </rewrite>\r\n    \
        </system.webServer>\r\n  </location>\r\n</configuration>\r\n";
    files[2].1 = text.into();
    files
}

#[test]
fn a_cumulative_update_that_replaces_a_file_is_answered_in_the_next_cycle() {
    let server = Server::new(&cleared(), &[]);
    let before = server.files();
    let m2 = server.shipped("M2");
    let change = server.bring(&m2);
    assert!(change.edits.iter().any(|edit| edit.path == place(OWA)), "{:?}", change.edits);
    let original = cleared()[2].1.clone();
    server.host.put(place(OWA), original);
    let observed = server.observe();
    assert!(!observed.live.foreign.is_empty());
    assert!(
        observed.live.foreign.iter().all(|said| said.contains("is not there any more")),
        "{:?}",
        observed.live.foreign
    );
    server.bring(&m2);
    assert_eq!(server.observe().live.foreign, [""; 0]);
    assert!(server.text(OWA).contains("Stopgap example M2.1"));
    server.bring(&[]);
    assert_eq!(server.files(), before);
}

#[test]
fn a_rule_deleted_by_hand_comes_back_and_one_that_was_edited_is_left_to_its_editor() {
    let server = Server::new(&synthetic("\n"), &[]);
    let m1 = server.shipped("M1");
    server.bring(&m1);
    let with = server.text(HOST);
    let start = with.find("<rule name=\"Stopgap").unwrap();
    let end = start + with[start..].find("</rule>").unwrap() + 7;
    server.host.put(place(HOST), format!("{}{}", &with[..start], &with[end..]));
    let observed = server.observe();
    assert_eq!(observed.live.foreign.len(), 1, "{:?}", observed.live.foreign);
    assert_eq!(observed.live.holds, []);
    server.bring(&m1);
    assert_eq!(server.effective("Default Web Site").len(), 1);

    // Somebody switches it off: neither removed nor doubled.
    let text =
        server.text(HOST).replace("inbound\" stopProcessing", "inbound\" enabled=\"false\" stopProcessing");
    assert_ne!(text, server.text(HOST));
    server.host.put(place(HOST), text.clone());
    let observed = server.observe();
    assert!(observed.live.foreign[0].ends_with("was edited"), "{:?}", observed.live.foreign);
    assert_eq!(observed.live.holds, []);
    let rendered = server.render(&m1);
    assert_eq!(rendered.refused.len(), 1);
    let change = rendered.change.unwrap();
    server.carry_out(&change);
    assert!(server.text(HOST).contains("enabled=\"false\""), "it is theirs now");
    let warnings = server.observe().warnings;
    assert!(warnings.iter().any(|said| said.contains("leaves by hand alone")), "{warnings:?}");
}

#[test]
fn a_file_edited_between_plan_and_apply_is_left_and_planned_anew() {
    let server = Server::new(&synthetic("\n"), &[]);
    let change = server.plan(&server.shipped("M1")).unwrap();
    let edited = server.text(HOST).replace("</configuration>", "<!-- by hand -->\n</configuration>");
    server.host.put(place(HOST), edited.clone());
    let before = server.files();
    let error = server.driver.check(&server.host, &change).unwrap_err();
    assert_eq!(error.code(), "changed-under-us", "{error}");
    let error = server.driver.apply(&server.host, &change).unwrap_err();
    assert_eq!(error.code(), "changed-under-us", "{error}");
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.files(), before, "nothing is lost, and nothing of ours is there");
    server.bring(&server.shipped("M1"));
    assert!(server.text(HOST).contains("<!-- by hand -->"));
}

#[test]
fn a_revert_in_a_file_that_was_edited_or_broken_since_cuts_exactly_what_was_put_there() {
    let server = Server::new(&synthetic("\r\n"), &RUNNING);
    let before = server.text(HOST);
    let wanted = [server.shipped("M1"), server.shipped("M2"), server.shipped("PL3")].concat();
    let change = server.plan(&wanted).unwrap();
    server.driver.apply(&server.host, &change).unwrap();
    let edited = server.text(HOST).replace("<sites>", "<sites><!-- by hand -->");
    server.host.put(place(HOST), edited);
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.text(HOST), before.replace("<sites>", "<sites><!-- by hand -->"));

    // Malformed by somebody else: rules are cut all the same.
    let server = Server::new(&synthetic("\r\n"), &RUNNING);
    let change = server.plan(&server.shipped("M1")).unwrap();
    server.driver.apply(&server.host, &change).unwrap();
    let broken = server.text(HOST).replace("</sites>", "</sites");
    server.host.put(place(HOST), broken);
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.text(HOST), before.replace("</sites>", "</sites"));
}

#[test]
fn what_cannot_be_cut_since_it_was_edited_is_printed_to_be_deleted_and_the_journal_keeps_it() {
    let server = Server::new(&synthetic("\n"), &[]);
    let change = server.plan(&server.shipped("M1")).unwrap();
    server.driver.apply(&server.host, &change).unwrap();
    let edited = server.text(HOST).replace("(?=.*powershell)", "(?=.*PowerShell)");
    server.host.put(place(HOST), edited.clone());
    let error = server.driver.revert(&server.host, &change).unwrap_err();
    assert_eq!(error.code(), "by-hand");
    let text = error.to_string();
    assert!(text.contains("applicationHost.config") && text.contains("Stopgap example M1.1"), "{text}");
    assert_eq!(server.text(HOST), edited);
    // Deleted by hand, the revert comes to its end.
    server.host.put(place(HOST), synthetic("\n")[0].1.clone());
    server.driver.revert(&server.host, &change).unwrap();
}

#[test]
fn a_malformed_file_of_somebody_else_is_reported_and_left_and_the_rest_is_protected() {
    let mut files = synthetic("\n");
    files[2].1 = b"<configuration>\n<system.webServer>\n</configuration>\n".to_vec();
    let server = Server::new(&files, &[]);
    let before = server.files();
    server.bring(&server.shipped("M1"));
    let observed = server.observe();
    assert!(observed.warnings.iter().any(|said| said.contains("malformed")), "{:?}", observed.warnings);
    assert_eq!(server.host.peek(place(OWA)).unwrap(), files[2].1);
    assert_eq!(server.effective("Default Web Site/ecp").len(), 1);
    let gaps: Vec<&str> = observed.live.gaps.iter().map(|gap| gap.place.as_str()).collect();
    assert!(gaps.contains(&"Default Web Site/owa"), "{gaps:?}");
    server.bring(&[]);
    assert_eq!(server.files(), before);

    // M2 is for that branch alone: it waits.
    let rendered = server.render(&server.shipped("M2"));
    assert_eq!(rendered.refused.len(), 1);
    assert!(rendered.refused[0].1.contains("500.19"), "{:?}", rendered.refused);
    assert!(rendered.change.is_none());

    // The server's own file: nothing is changed at all.
    server.host.put(place(HOST), "<configuration>");
    assert_eq!(server.driver.observe(&server.host).unwrap_err().code(), "broken-before");
}

/// The operations of an apply whose words are `words`, failed one after the other as `kind`.
fn fails_as(kind: io::ErrorKind, words: &str, code: &str) {
    let server = Server::new(&synthetic("\n"), &RUNNING);
    let wanted = [server.shipped("M1"), server.shipped("PL3")].concat();
    let change = server.plan(&wanted).unwrap();
    let before = server.files();
    server.host.set_fault(None);
    server.driver.apply(&server.host, &change).unwrap();
    let at: Vec<usize> = server
        .host
        .operations()
        .iter()
        .enumerate()
        .filter(|(_, operation)| operation.starts_with(words) && operation.contains("applicationHost.config"))
        .map(|(nth, _)| nth)
        .collect();
    assert_eq!(at.len(), 1, "{words}");
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.files(), before);
    server.host.fail_as(kind);
    server.host.set_fault(Some(Fault::Once(at[0])));
    let error = server.driver.apply(&server.host, &change).unwrap_err();
    server.host.set_fault(None);
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(server.text(HOST).as_bytes(), synthetic("\n")[0].1, "nothing is lost");
    server.driver.revert(&server.host, &change).unwrap();
    assert_eq!(server.files(), before, "and nothing is left");
    server.bring(&wanted);
}

#[test]
fn a_full_disk_loses_nothing() {
    fails_as(io::ErrorKind::StorageFull, "write_new", "disk-full");
}

#[test]
fn a_file_that_another_process_holds_is_told_as_such() {
    fails_as(io::ErrorKind::ResourceBusy, "rename", "locked");
}

#[test]
fn a_read_only_file_system_is_told_as_such() {
    fails_as(io::ErrorKind::ReadOnlyFilesystem, "write_new", "read-only");
}

/// The same server on the real machine.
pub fn on_disk(folder: &Path, files: &[(String, Vec<u8>)]) -> (Iis, std::path::PathBuf) {
    let root = folder.join("c");
    for (path, octets) in files {
        let path = root.join(path.strip_prefix("C:\\").unwrap().replace('\\', "/"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, octets).unwrap();
    }
    let iis = Iis::new(Settings {
        name: "iis".into(),
        folder: folder.join("data/iis"),
        root: root.clone(),
        listeners: vec![],
        probed: vec![],
    });
    (iis, root.join("Windows/System32/inetsrv/config/applicationHost.config"))
}

#[cfg(unix)]
#[test]
fn a_read_only_file_and_a_link_are_left_and_a_written_one_keeps_its_permissions() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (iis, host) = on_disk(folder.path(), &synthetic("\n"));
    let wanted = Server::new(&synthetic("\n"), &[]).shipped("M1");
    let mode = |mode| std::fs::set_permissions(&host, std::fs::Permissions::from_mode(mode)).unwrap();
    let plan = || iis.render(&wanted, &iis.observe(&Machine).unwrap()).change.unwrap();
    let original = std::fs::read(&host).unwrap();

    mode(0o444);
    let change = plan();
    let error = iis.apply(&Machine, &change).unwrap_err();
    assert_eq!(error.code(), "read-only", "{error}");
    iis.revert(&Machine, &change).unwrap();
    mode(0o664);

    let real = folder.path().join("real.config");
    std::fs::rename(&host, &real).unwrap();
    symlink(&real, &host).unwrap();
    let change = plan();
    let error = iis.check(&Machine, &change).unwrap_err();
    assert!(matches!(&error, DriverError::NotWritten { .. }), "{error}");
    assert_eq!(error.code(), "link");
    iis.revert(&Machine, &change).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), original);
    std::fs::remove_file(&host).unwrap();
    std::fs::rename(&real, &host).unwrap();

    let change = plan();
    iis.check(&Machine, &change).unwrap();
    iis.apply(&Machine, &change).unwrap();
    assert_ne!(std::fs::read(&host).unwrap(), original);
    assert_eq!(Machine.mode(&host).unwrap(), 0o664);
    iis.revert(&Machine, &change).unwrap();
    assert_eq!(std::fs::read(&host).unwrap(), original);
    assert_eq!(Machine.mode(&host).unwrap(), 0o664);
    assert!(!host.with_file_name(".applicationHost.config.stopgap-new").exists());
}

#[test]
fn names_are_found_in_any_case_as_windows_does() {
    let server = Server::new(&synthetic("\n"), &[]);
    let octets = server.host.peek(place(HOST)).unwrap();
    server.host.take("/c/Windows");
    let elsewhere = "/c/WINDOWS/system32/InetSrv/Config/ApplicationHost.config";
    server.host.put(elsewhere, octets.clone());
    server.bring(&server.shipped("M1"));
    assert_ne!(server.host.peek(elsewhere).unwrap(), octets);
    server.bring(&[]);
    assert_eq!(server.host.peek(elsewhere).unwrap(), octets);
}
