//! Every mitigation that the project ships: put on, and taken off to the byte; and no fault by another reading.

use std::collections::BTreeMap;

use crate::exchange::{HOST, OWA, ROOT, rewrite, tree};
use crate::{
    ALL, Server, altered, common, crlf, exchange, global, naive, plain, round_trip, shipped, wide, windows,
};
use stopgap_iis::MemoryTree;
use stopgap_iis::place::{Remains, place, take_off};

#[test]
fn every_mitigation_goes_on_and_off_to_the_byte_in_every_order_of_three() {
    let files = plain();
    let triples =
        [[shipped("M1"), shipped("M2"), shipped("PL1")], [shipped("PL1"), vec![global()], shipped("M2")]];
    let opened = tree(
        "    <system.webServer>\n        <rewrite>\n            <globalRules />\n        </rewrite>\n    \
                       </system.webServer>\n",
        &[(ROOT, &rewrite("<rules />")), (OWA, "<configuration/>")],
    );
    let variants = [
        files.clone(),
        altered(&files, &[HOST, ROOT, OWA], crlf),
        altered(&files, &[HOST, ROOT, OWA], wide),
        opened,
    ];
    for (variant, files) in variants.iter().enumerate() {
        for groups in &triples {
            for (nth, on) in ALL.into_iter().enumerate() {
                let offs = if variant == 0 { ALL.to_vec() } else { vec![ALL[(nth + 2) % 6]] };
                for off in offs {
                    round_trip(files, groups, on, off, &[HOST, ROOT, OWA]);
                }
            }
        }
    }
}

#[test]
fn the_mitigations_for_services_and_pools_have_nothing_to_place() {
    for id in ["PL2", "PL3", "PL4"] {
        assert_eq!(shipped(id), [], "{id}");
    }
}

#[test]
fn a_real_server_gets_every_mitigation_and_is_what_it_was_afterwards() {
    let Some(samples) = common::corpus("a_real_server_gets_every_mitigation_and_is_what_it_was_afterwards")
    else {
        return;
    };
    let files = common::laid_out(&samples);
    let three = [[shipped("M1"), shipped("PL1")].concat(), shipped("M2"), vec![global()]];
    let paths = [HOST, ROOT, common::OWA];
    let windows = altered(&files, &paths, crlf);
    for (nth, on) in ALL.into_iter().enumerate() {
        let off = ALL[(nth + 2) % 6];
        round_trip(&files, &three, on, off, &paths);
        round_trip(&windows, &three, on, off, &paths);
    }
}

#[test]
fn taking_off_cuts_what_was_written_in_a_broken_file_and_names_what_was_changed() {
    let mut server = Server::new(plain());
    server.put(&[shipped("M1"), shipped("PL1")].concat());
    let recorded = server.recorded[&HOST.to_lowercase()].clone();
    let text = String::from_utf8(server.files.get(HOST).unwrap().to_vec()).unwrap();
    let before = String::from_utf8(plain().get(HOST).unwrap().to_vec()).unwrap();

    let broken = text.replace("</configuration>", "<oops");
    let off = take_off(broken.as_bytes(), &recorded);
    assert_eq!((off.by_hand, off.frames), (vec![], vec![]));
    assert_eq!(off.octets, before.replace("</configuration>", "<oops").as_bytes());

    let edited = text.replace("X-BEResource=(.+)/(.+)~(.+)", "X-BEResource=");
    let off = take_off(edited.as_bytes(), &recorded);
    assert_eq!(off.by_hand.len(), 1);
    assert_eq!(
        (off.by_hand[0].name.as_str(), off.by_hand[0].why),
        ("Stopgap example PL1.2 X-BEResource - inbound", Remains::Changed)
    );
    assert!(off.by_hand[0].text.starts_with("<rule name=\"Stopgap example PL1.2"));
    let left = String::from_utf8(off.octets).unwrap();
    assert!(!left.contains("M1.1") && left.contains("PL1.2") && off.frames.len() == 1);

    let doubled = text.replace("</configuration>", &format!("<!--{text}-->"));
    let off = take_off(doubled.as_bytes(), &recorded);
    assert!(off.by_hand.iter().all(|one| one.why == Remains::TooOften { found: 2, written: 1 }));
    assert_eq!(off.by_hand.len(), 3);

    // Somebody has taken it off already.
    let off = take_off(before.as_bytes(), &recorded);
    assert_eq!((off.by_hand, off.octets), (vec![], before.into_bytes()));
}

#[test]
fn a_file_that_changed_since_it_was_read_is_not_changed() {
    let files = plain();
    let placement = place(&files, &windows(), &shipped("M1")).unwrap();
    let edit = &placement.files[0];
    let stale = edit.apply(&[files.get(HOST).unwrap(), b"\n"].concat()).unwrap_err();
    assert!(stale.to_string().contains("has changed since it was read"));
    assert!(edit.apply(files.get(HOST).unwrap()).is_ok());
}

/// Every mitigation on these files, as the naive reading has it: what is wrong, and the rules for responses in owa.
fn naively(texts: &BTreeMap<String, String>) -> (Vec<String>, Vec<(String, usize)>) {
    let path = |path: &str| format!("C:\\{}", path.replace('/', "\\"));
    let mut files = MemoryTree::default();
    texts.iter().for_each(|(name, text)| files.insert(&path(name), text.as_bytes()));
    let mut server = Server::new(files);
    server.put(&[shipped("M1"), shipped("PL1"), shipped("M2"), vec![global()]].concat());
    let text = |name: &String| String::from_utf8(server.files.get(&path(name)).unwrap().to_vec()).unwrap();
    let after: BTreeMap<_, _> = texts.keys().map(|name| (name.clone(), text(name))).collect();
    let before = naive::read(texts, naive::Order::ByLevel).violations;
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for order in [naive::Order::ByLevel, naive::Order::ByFile] {
        let reading = naive::read(&after, order);
        faults.extend(reading.violations.difference(&before).map(|fault| format!("{fault:?}")));
        let owa = reading.levels.into_iter().filter(|(path, _)| path.starts_with("Default Web Site/owa"));
        found = owa.map(|(path, level)| (path, level["outboundRules"].len())).collect();
    }
    (faults, found)
}

#[test]
fn the_naive_reading_finds_m2_in_owa_and_in_each_application_in_it_and_no_fault() {
    let host = exchange::host("");
    let texts = [
        (naive::HOST, host.as_str()),
        ("Exchange/HttpProxy/owa/web.config", "<configuration></configuration>"),
    ];
    let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let (faults, owa) = naively(&texts);
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        owa,
        ["", "/Calendar", "/Integrated", "/oma"].map(|end| (format!("Default Web Site/owa{end}"), 1))
    );
}

#[test]
fn the_naive_reading_of_a_real_server_finds_no_fault_in_what_is_placed() {
    let name = "the_naive_reading_of_a_real_server_finds_no_fault_in_what_is_placed";
    let Some(samples) = common::corpus(name) else { return };
    let front = "Program Files/Microsoft/Exchange Server/V15/FrontEnd/HttpProxy";
    let homes = [
        ("applicationHost.config", naive::HOST.to_owned()),
        ("DefaultWebSite_web.config", "inetpub/wwwroot/web.config".into()),
        ("DefaultWebSite-OWA_web.config", format!("{front}/owa/web.config")),
        ("DefaultWebSite-ECP_web.config", format!("{front}/ecp/web.config")),
    ];
    let text = |sample: &str| std::fs::read_to_string(samples.join(sample)).unwrap();
    let texts = homes.into_iter().map(|(sample, home)| (home, text(sample))).collect();
    let (faults, owa) = naively(&texts);
    assert_eq!(faults, [""; 0]);
    assert!(owa.len() >= 4 && owa.iter().all(|(_, rules)| *rules == 1), "{owa:?}");
}
