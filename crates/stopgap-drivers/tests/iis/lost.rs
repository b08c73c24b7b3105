//! What must not be lost: the record of what is ours, and what somebody writes at the same moment.

use stopgap_drivers::{Driver, Machine};
use stopgap_testkit::host::{Fault, Node};

use crate::awkward::{cleared, on_disk};
use crate::exchange::{ECP, HOST, OWA};
use crate::server::{DATA, Server, place};
use crate::{RUNNING, synthetic};

#[test]
fn a_crash_anywhere_in_a_change_of_two_files_and_a_pool_is_taken_back_to_the_byte() {
    let server = Server::new(&cleared(), &RUNNING);
    let before = server.files();
    let wanted = [server.shipped("M1"), server.shipped("M2"), server.shipped("PL3")].concat();
    let change = server.plan(&wanted).unwrap();
    assert_eq!((change.edits.len(), change.switches.len()), (2, 1));
    server.host.set_fault(None);
    server.driver.apply(&server.host, &change).unwrap();
    let operations = server.host.operations().len();
    server.driver.revert(&server.host, &change).unwrap();
    let mut between = 0;
    for at in 0..operations {
        server.host.set_fault(Some(Fault::Crash(at)));
        server.driver.apply(&server.host, &change).unwrap_err();
        server.host.set_fault(None);
        let changed = |path| server.host.peek(place(path)) != before.get(&place(path)).map(octets);
        between += usize::from(changed(HOST) != changed(OWA));
        // A crash in the middle of the revert, and then one that is let through.
        for back in [at, at / 2, at / 3] {
            server.host.set_fault(Some(Fault::Crash(back)));
            let _ = server.driver.revert(&server.host, &change);
        }
        server.host.set_fault(None);
        server.driver.revert(&server.host, &change).unwrap();
        assert_eq!(server.files(), before, "crashed at {at}");
        assert!(server.pools.lock().unwrap().values().all(|runs| *runs), "crashed at {at}");
    }
    assert!(between > 0, "some of them fall between the two files");
    server.carry_out(&change);
}

fn octets(node: &Node) -> Vec<u8> {
    match node {
        Node::File(octets) => octets.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_compared_once_more_when_the_new_one_is_on_the_disk_and_only_then_replaced() {
    let server = Server::new(&synthetic("\n"), &[]);
    let change = server.plan(&server.shipped("M1")).unwrap();
    server.host.set_fault(None);
    server.driver.apply(&server.host, &change).unwrap();
    let operations = server.host.operations();
    let rename = operations
        .iter()
        .position(|one| one.starts_with("rename") && one.ends_with("applicationHost.config"));
    assert_eq!(operations[rename.unwrap() - 1], format!("read {}", place(HOST).display()), "{operations:#?}");
}

#[test]
fn what_somebody_puts_beside_the_record_does_not_make_our_rules_strangers() {
    let server = Server::new(&synthetic("\r\n"), &RUNNING);
    let before = server.files();
    let wanted = [server.shipped("M1"), server.shipped("PL3")].concat();
    let change = server.bring(&wanted);
    let set = format!("{DATA}/sets/{}", change.after.unwrap().id);
    server.host.put(format!("{set}/record.json~"), "an editor's");
    let observed = server.observe();
    assert_eq!(observed.live.foreign.len(), 1, "{:?}", observed.live.foreign);
    let stranger = |said: &&String| said.contains("by hand alone");
    assert_eq!(observed.warnings.iter().find(stranger), None);
    let change = server.bring(&wanted);
    assert_eq!(change.edits, [], "the files are as they should be");
    assert_eq!(server.observe().live.foreign, [""; 0]);
    server.bring(&[]);
    server.host.take(DATA);
    let after = server.files();
    let mut expected = before;
    expected.retain(|path, _| !path.starts_with(DATA));
    assert_eq!(after, expected);
    assert!(server.pools.lock().unwrap().values().all(|runs| *runs));
}

#[test]
fn a_file_that_cannot_be_read_for_a_while_keeps_what_is_ours_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (iis, host) = on_disk(folder.path(), &cleared());
    let owa = folder.path().join("c").join(OWA.strip_prefix("C:\\").unwrap().replace('\\', "/"));
    let original = std::fs::read(&owa).unwrap();
    let server = Server::new(&cleared(), &[]);
    let bring = |wanted: &[_]| {
        let rendered = iis.render(wanted, &iis.observe(&Machine).unwrap());
        if let Some(change) = &rendered.change {
            iis.check(&Machine, change).unwrap();
            iis.apply(&Machine, change).unwrap();
            iis.settle(&Machine, change).unwrap();
        }
        rendered
    };
    let (m1, both) = (server.shipped("M1"), [server.shipped("M1"), server.shipped("M2")].concat());
    bring(&both);
    let ours = std::fs::read(&owa).unwrap();
    assert_ne!(ours, original);

    // Longer than anything that is read: the same to a reader as a file that another process holds.
    let too_long = std::fs::File::options().write(true).open(&owa).unwrap();
    too_long.set_len(1 << 30).unwrap();
    let observed = iis.observe(&Machine).unwrap();
    assert_eq!(observed.live.foreign, [""; 0], "nobody has undone anything");
    assert!(
        observed.warnings.iter().any(|said| said.contains("rules of ours are in it")),
        "{:?}",
        observed.warnings
    );
    let rendered = bring(&both);
    assert_eq!(rendered.refused.len(), 1, "M2 is in force nowhere now: {:?}", rendered.refused);
    assert!(bring(&both).change.is_none(), "and nothing more is to be done");
    bring(&m1);
    bring(&[]);
    assert_eq!(std::fs::read(&host).unwrap(), cleared()[0].1, "what can leave has left");
    assert!(bring(&[]).change.is_none(), "the record stays while something of ours may be there");

    std::fs::write(&owa, &ours).unwrap();
    bring(&[]);
    assert_eq!(std::fs::read(&owa).unwrap(), original);
    assert!(!folder.path().join("data/iis").exists());
}

#[test]
fn one_of_two_sites_whose_rule_is_deleted_gets_it_back_and_the_record_does_not_grow() {
    let server = Server::new(&synthetic("\n"), &[]);
    let before = server.files();
    let mut wanted = server.shipped("M1");
    wanted[0].sites = Some(vec!["Default Web Site".into(), "Exchange Back End".into()]);
    wanted[0].action.target = Some("Default Web Site".into());
    server.bring(&wanted);
    let text = server.text(HOST);
    let start = text.rfind("<rule name=\"Stopgap").unwrap();
    let end = start + text[start..].find("</rule>").unwrap() + 7;
    assert_ne!(text.find("<rule name=\"Stopgap").unwrap(), start);
    server.host.put(place(HOST), format!("{}{}", &text[..start], &text[end..]));
    let observed = server.observe();
    assert_eq!(observed.live.foreign.len(), 1, "{:?}", observed.live.foreign);
    server.bring(&wanted);
    assert_eq!(server.text(HOST).matches("<rule name=\"Stopgap").count(), 2);
    let record = server.host.peek(format!("{DATA}/live/record.json")).unwrap();
    let written = String::from_utf8(record).unwrap().matches("\"name\": \"Stopgap").count();
    assert_eq!(written, 2);
    assert_eq!(server.plan(&wanted), None);
    server.bring(&[]);
    assert!(!server.text(HOST).contains("Stopgap"));
    assert_eq!(server.files().len(), before.len());
}

#[test]
fn a_rule_whose_whole_branch_somebody_breaks_stays_known_as_ours() {
    let server = Server::new(&synthetic("\r\n"), &[]);
    let before = server.files();
    let m2 = server.shipped("M2");
    server.bring(&m2);
    let good = server.host.peek(place(OWA)).unwrap();
    server.host.put(place(OWA), "<configuration>\n<system.webServer>\n</configuration>\n");
    let observed = server.observe();
    assert_eq!((observed.live.holds, observed.live.foreign), (vec![], vec![]));
    let rendered = server.render(&m2);
    assert!(rendered.refused[0].1.contains("500.19"), "{:?}", rendered.refused);
    if let Some(change) = &rendered.change {
        assert_eq!(change.edits, []);
        server.carry_out(change);
    }
    assert!(server.render(&m2).change.is_none(), "and nothing more is to be done");
    server.host.put(place(OWA), good.clone());
    server.bring(&m2);
    assert_eq!(server.observe().live.holds.len(), 1);

    // Taken off while the branch is broken.
    server.host.put(place(OWA), "<configuration>\n<system.webServer>\n</configuration>\n");
    if let Some(change) = server.render(&m2).change {
        server.carry_out(&change);
    }
    server.bring(&[]);
    server.host.put(place(OWA), good);
    assert_eq!(server.files(), before);
}

#[test]
fn a_file_that_appears_below_and_clears_what_it_inherits_is_told_and_one_that_goes_is_too() {
    let mut files = synthetic("\n");
    files[2].1 = b"<configuration>\n</configuration>\n".to_vec();
    let server = Server::new(&files, &[]);
    let before = server.files();
    let m1 = server.shipped("M1");
    server.bring(&m1);
    assert_eq!(server.observe().live.gaps, []);
    server.host.put(
        place(ECP),
        "<configuration>\n<system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer>\n</configuration>\n",
    );
    let observed = server.observe();
    let gaps: Vec<String> =
        observed.live.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].starts_with("Default Web Site/ecp: <clear> in line 2 of"), "{gaps:?}");
    assert_eq!(observed.live.holds.len(), 1, "it is in force elsewhere");
    assert!(stopgap_drivers::iis::watched(&server.host, "/c".as_ref()).contains(&place(ECP)));
    // The answer, if there is one, comes to an end, and the rule is there or told not to be.
    if let Some(change) = server.plan(&m1) {
        server.carry_out(&change);
    }
    assert_eq!(server.plan(&m1), None);
    let there =
        server.effective("Default Web Site/ecp").iter().any(|name| name.starts_with("Stopgap example M1.1"));
    assert_eq!(server.observe().live.gaps.is_empty(), there);
    server.host.take(place(ECP));
    if let Some(change) = server.plan(&m1) {
        server.carry_out(&change);
    }
    assert_eq!(server.observe().live.gaps, []);
    assert_eq!(server.effective("Default Web Site/ecp").len(), 1, "once, whatever was there in between");
    server.bring(&[]);
    let mut after = server.files();
    after.retain(|path, _| before.contains_key(path));
    assert_eq!(after, before);

    // With ours in it, too: what is left of the branch is protected.
    let server = Server::new(&cleared(), &[]);
    let m2 = server.shipped("M2");
    server.bring(&m2);
    server.host.take(place(OWA));
    let observed = server.observe();
    assert_eq!(observed.live.foreign.len(), 1, "{:?}", observed.live.foreign);
    assert!(observed.live.foreign[0].ends_with("is gone, with rules of ours in it"));
    server.bring(&m2);
    assert_eq!(server.effective("Default Web Site/owa/oma").len(), 1);
    server.bring(&[]);
    assert_eq!(server.host.peek(place(HOST)).unwrap(), cleared()[0].1);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_told_and_not_taken_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = synthetic("\n");
    let text = String::from_utf8(files[0].1.clone()).unwrap();
    files[0].1 = text.replace(r"C:\Exchange\ClientAccess\owa", r"D:\Exchange\ClientAccess\owa").into_bytes();
    let (iis, _) = on_disk(folder.path(), &files);
    // A pipe in place of a file has whoever reads it wait for its writer.
    let ecp = folder.path().join("c/Exchange/HttpProxy/ecp");
    std::fs::create_dir_all(&ecp).unwrap();
    let made = std::process::Command::new("mkfifo").arg(ecp.join("web.config")).status();
    let Ok(true) = made.map(|status| status.success()) else {
        assert!(std::env::var_os("CI").is_none(), "needs mkfifo");
        println!("skipped (no mkfifo): what_cannot_be_looked_at_is_told_and_not_taken_for_nothing");
        return;
    };
    let told = |word: &str| {
        let warnings = iis.observe(&Machine).unwrap().warnings;
        assert!(warnings.iter().any(|said| said.contains(word)), "{word}: {warnings:#?}");
    };
    told("is not a file");
    std::fs::rename(ecp.join("web.config"), ecp.join("pipe")).unwrap();
    std::os::unix::fs::symlink("pipe", ecp.join("web.config")).unwrap();
    told("it is a pipe");
    told("D: is not looked at");
    // More names than are listed: a file among them is found all the same.
    for nth in 0..=10_000 {
        std::fs::write(folder.path().join(format!("c/inetpub/wwwroot/{nth}.txt")), "").unwrap();
    }
    told("wwwroot cannot be listed");
    let root = folder.path().join("c/inetpub/wwwroot/web.config");
    std::fs::write(root, "<configuration>\n<broken>\n</configuration>\n").unwrap();
    told("Default Web Site answers with 500.19 (malformed)");
}

#[test]
fn a_rule_that_goes_from_one_file_to_another_breaks_nothing_in_between() {
    // Behind C:\Windows in the order of names, where its neighbors are before it.
    let elsewhere = |text: &str| text.replace(r"C:\Exchange\HttpProxy\owa", r"C:\websites\owa");
    let mut files = cleared();
    files[0].1 = elsewhere(std::str::from_utf8(&files[0].1).unwrap()).replace("OWA\\", "owa").into_bytes();
    files[2].0 = elsewhere(OWA);
    let server = Server::new(&files, &[]);
    let faults = server.violations();
    server.bring(&server.shipped("M2"));
    let owa = place(&files[2].0);
    let text = String::from_utf8(server.host.peek(&owa).unwrap()).unwrap();
    assert!(text.contains("Stopgap example M2.1"));
    // It need not stand there any more, and is another revision at the same time.
    server.host.put(&owa, text.replace("          <clear />\r\n", ""));
    let path = format!("{}/../../mitigations/M2/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let change = server.plan(&server.wanted(&text.replace("popout", "pop-out"))).unwrap();
    assert_eq!(change.edits.len(), 2);
    server.driver.check(&server.host, &change).unwrap();
    server.host.set_fault(None);
    server.driver.apply(&server.host, &change).unwrap();
    let operations = server.host.operations().len();
    server.driver.revert(&server.host, &change).unwrap();
    for at in 0..operations {
        server.host.set_fault(Some(Fault::Crash(at)));
        let _ = server.driver.apply(&server.host, &change);
        server.host.set_fault(None);
        assert_eq!(server.violations(), faults, "crashed at {at}");
        server.driver.revert(&server.host, &change).unwrap();
    }
}
