//! What every driver keeps, on a machine that fails at every operation in turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod of_the_gateway;
mod processes;
mod targets;

use stopgap_core::proof::RefusalForm;
use stopgap_feed::document::ActionKind;
use stopgap_testkit::host::{Fault, Node};

use targets::*;

#[test]
fn what_is_applied_is_observed_and_then_nothing_is_left_to_do() {
    for (name, make) in TARGETS {
        let target = make();
        assert!(target.plan(&[]).is_none(), "{name}");
        let untouched = (target.data(), target.memory());
        let (one, two) = (wanted("M1", "autodiscover"), wanted("M2", "owa"));
        target.bring(std::slice::from_ref(&one));
        assert_eq!(target.holds(), ["example:M1 M1.1"], "{name}");
        let memory = String::from_utf8(target.memory()).unwrap();
        // HAProxy holds patterns, and no comments.
        assert!(
            memory.contains(if name == "haproxy" { " abort" } else { "example M1.1" }),
            "{name}: {memory}"
        );
        assert!(target.plan(std::slice::from_ref(&one)).is_none(), "{name}");
        let both = [two.clone(), one.clone()];
        let change = target.plan(&both).unwrap();
        assert_eq!((change.puts_on.len(), change.takes_off.len()), (1, 0));
        target.bring(&both);
        assert_eq!(target.holds(), ["example:M1 M1.1", "example:M2 M2.1"], "{name}: in the order of the ids");
        target.bring(&[two]);
        assert_eq!(target.holds(), ["example:M2 M2.1"], "{name}");
        target.bring(&[]);
        assert_eq!((target.data(), target.memory()), untouched, "{name}: to the byte");
    }
}

#[test]
fn a_new_revision_of_an_action_is_a_change_of_it() {
    for (name, make) in TARGETS {
        let target = make();
        target.bring(&[wanted("M1", "autodiscover")]);
        let change = target.plan(&[wanted("M1", "other")]).unwrap();
        assert_eq!((change.puts_on.len(), change.takes_off.len()), (1, 0), "{name}");
    }
}

#[test]
fn an_apply_cut_short_anywhere_is_reverted_on_disk_and_in_the_server() {
    for (name, make) in TARGETS {
        for live in [vec![], vec![wanted("M1", "autodiscover")]] {
            for after in [vec![], vec![wanted("M2", "owa")]] {
                if live.is_empty() && after.is_empty() {
                    continue;
                }
                for fault in [Fault::Crash as fn(usize) -> Fault, Fault::Once] {
                    for n in 0.. {
                        let target = make();
                        if !live.is_empty() {
                            target.bring(&live);
                        }
                        let (data, memory) = (target.data(), target.memory());
                        let change = target.plan(&after).unwrap();
                        target.host.set_fault(Some(fault(n)));
                        let applied = target.driver.apply(&target.host, &change);
                        let reached = target.host.operations().len() > n;
                        target.host.set_fault(None);
                        assert!(reached || applied.is_ok());
                        target
                            .driver
                            .revert(&target.host, &change)
                            .unwrap_or_else(|e| panic!("{name} at {n}: {e:?}"));
                        assert_eq!(target.data(), data, "{name}, stopped at {n}");
                        assert_eq!(target.memory(), memory, "{name}, stopped at {n}");
                        if !reached {
                            break;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_edit_from_outside_is_seen_and_repaired_and_kept_for_its_author() {
    // IIS reads nothing of a set; what is edited of its own files is in tests of their own.
    for (name, make) in TARGETS.into_iter().filter(|(name, _)| *name != "iis") {
        let target = make();
        let one = [wanted("M1", "autodiscover")];
        target.bring(&one);
        let good = target.memory();
        let path = target
            .data()
            .into_keys()
            .find(|p| {
                p.extension().is_some_and(|e| ["conf", "xml", "map"].iter().any(|x| e == *x))
                    && !p.starts_with("/data/haproxy/none")
            })
            .unwrap();
        target.host.put(&path, "# by hand\n");
        let live = target.driver.observe(&target.host).unwrap().live;
        assert_eq!((live.foreign.len(), live.holds.len()), (1, 0), "{name}");
        let change = target.plan(&one).expect("a repair");
        assert_eq!(change.before, change.after.as_ref().map(|set| set.id.clone()));
        target.bring(&one);
        assert_eq!((target.holds().len(), target.memory()), (1, good), "{name}");
        let kept =
            target.data().into_values().filter(|node| *node == Node::File(b"# by hand\n".to_vec())).count();
        assert_eq!(kept, 1, "{name}");
    }
}

#[test]
fn one_action_that_a_target_cannot_express_does_not_keep_the_others_from_it() {
    for (name, make) in TARGETS {
        let target = make();
        let mut bad = wanted("M0", "x");
        bad.action.kind =
            ActionKind::UrlRewrite { rewrite: "<rewrite><rules><rule/></rules></rewrite>".into() };
        let mut service = wanted("M3", "x");
        service.action.kind = ActionKind::Service { names: vec!["x".into()] };
        let observed = target.driver.observe(&target.host).unwrap();
        let rendered = target.driver.render(&[service, wanted("M1", "autodiscover"), bad], &observed);
        let refused: Vec<&str> = rendered.refused.iter().map(|(what, _)| what.action.as_str()).collect();
        assert_eq!(refused, ["M0.1", "M3.1"], "{name}");
        assert!(rendered.refused[1].1.contains("Service"));
        assert_eq!(rendered.change.unwrap().puts_on.len(), 1);
        // Of the sites, only those that read our rules; and the refusal is the server's own.
        let placed: Vec<_> = rendered.placements.iter().map(|p| (p.site.as_str(), p.form)).collect();
        let expected = match name {
            "gateway" => ("gateway", RefusalForm::Close),
            "apache" => ("one", RefusalForm::Status(403)),
            _ => ("one", RefusalForm::Close),
        };
        assert_eq!(placed, [expected]);
    }
}
