use super::*;
use crate::policy::{Approval, Approved, Block};
use stopgap_feed::document::{ActionKind, Condition, Product, Range, Scope, VersionScheme, Wave, Withdrawn};

const NOW: &str = "2026-11-22T03:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn mitigation(id: &str) -> Mitigation {
    Mitigation {
        id: id.parse().unwrap(),
        description: "SSRF".into(),
        severity: None,
        cve: vec![],
        supersedes: None,
        expires: None,
        applicability: Some(Condition::Any(vec![Condition::Product(Product {
            name: "exchange".into(),
            scheme: VersionScheme::Dotted,
            ecosystem: None,
            detect: Vec::new(),
            ranges: vec![Range { from: None, below: Some("15.2.986.36".into()), through: None }],
        })])),
        actions: vec![action(&format!("{id}.1"), Some("Default Web Site")), action(&format!("{id}.2"), None)],
        probes: vec![],
        rollout: vec![],
        side_effects: vec![],
        rollback: None,
        unsupported: vec![],
        octets: format!("<Config id=\"{id}\"/>"),
    }
}

fn action(id: &str, target: Option<&str>) -> Action {
    Action {
        id: id.parse().unwrap(),
        description: String::new(),
        scope: Scope::Site,
        target: target.map(str::to_owned),
        platform: None,
        kind: ActionKind::UrlRewrite { rewrite: "<rewrite/>".into() },
    }
}

fn document(mitigations: Vec<Mitigation>) -> Document {
    Document {
        version: "2.0".into(),
        feed: Some("example".parse().unwrap()),
        serial: Some(1),
        issued: Some(now()),
        expires: None,
        mitigations,
        withdrawn: vec![],
        warnings: vec![],
    }
}

fn target(name: &str, build: &str) -> TargetView {
    TargetView {
        name: name.into(),
        facts: [("exchange", build)].into_iter().collect(),
        sites: [("Default Web Site".to_owned(), vec!["mail.example.org".to_owned()])].into(),
        takes: &[ActionType::UrlRewrite],
    }
}

fn block(id: &str, take_off: bool) -> Block {
    Block {
        id: id.parse().unwrap(),
        feed: None,
        level: Level::Server,
        take_off,
        reason: Some("printing".into()),
        until: None,
    }
}

/// One mitigation `M1`, on an affected server, with whatever else holds.
struct Case {
    document: Document,
    build: &'static str,
    policy: Policy,
    in_ledger: bool,
    fixed_minutes_ago: Option<i64>,
}

impl Default for Case {
    fn default() -> Self {
        Case {
            document: document(vec![mitigation("M1")]),
            build: "15.2.986.5",
            policy: Policy::default(),
            in_ledger: false,
            fixed_minutes_ago: None,
        }
    }
}

impl Case {
    fn decide(self) -> (String, Wish) {
        let ledger = if self.in_ledger { ledger(self.fixed_minutes_ago) } else { Ledger::default() };
        let feeds = [FeedView::of_document("example", &self.document, now())];
        let targets = [target("nginx", self.build)];
        let selection = select(&feeds, &targets, &Facts::default(), &self.policy, &ledger, now());
        let selected = selection.get(&"example:M1".parse().unwrap()).unwrap();
        (format!("{}: {}", selected.verdict.word(), selected.verdict.reason()), selected.wish)
    }
}

fn ledger(fixed_minutes_ago: Option<i64>) -> Ledger {
    let entry = crate::ledger::Entry {
        octets: "<Config id=\"M1\" desc=\"x\"><ActionList/></Config>".into(),
        digest: "d".into(),
        trusted_at: now(),
        applied_at: now(),
        fixed_since: fixed_minutes_ago.map(|m| now() - SignedDuration::from_mins(m)),
        proofs: vec![],
        baselines: vec![],
        earlier: Default::default(),
    };
    Ledger { mitigations: [("example:M1".parse().unwrap(), entry)].into(), ..Ledger::default() }
}

fn with(change: impl FnOnce(&mut Mitigation)) -> Document {
    let mut m1 = mitigation("M1");
    change(&mut m1);
    document(vec![m1])
}

#[test]
fn an_affected_server_gets_it() {
    let (why, wish) = Case::default().decide();
    assert_eq!((why.as_str(), wish), ("Applies: exchange 15.2.986.5 is below 15.2.986.36", Wish::Apply));
}

#[test]
fn each_reason_in_the_order_of_precedence() {
    let off = Policy { server_enabled: false, ..Policy::default() };
    let org_off = Policy { organization_enabled: false, ..off.clone() };
    let paused = Policy { paused_until: Some(now() + SignedDuration::from_hours(2)), ..Policy::default() };
    let blocked = Policy { blocks: vec![block("M1", false)], ..org_off.clone() };
    let past = now() - SignedDuration::from_mins(1);
    let withdrawn = || {
        let mut document = with(|m| m.expires = Some(past));
        document.withdrawn = vec![Withdrawn { id: "M1".parse().unwrap(), reason: "harm".into() }];
        document
    };
    let wave = with(|m| m.rollout = vec![Wave { percent: 100, after_seconds: 600 }]);
    // Each case also holds every weaker reason's policy, so that the order itself is tested.
    let cases: Vec<(Document, &'static str, Policy, &str, Wish)> = vec![
        (
            with(|m| m.unsupported = vec!["unknown attribute `x`".into()]),
            "16.0.0.0",
            blocked.clone(),
            "Unsupported: unknown attribute `x`",
            Wish::Keep,
        ),
        (
            withdrawn(),
            "15.2.986.36",
            blocked.clone(),
            "NotApplicable: exchange 15.2.986.36 is in none of the affected ranges",
            Wish::TakeOff,
        ),
        (
            withdrawn(),
            "15.2.986.5",
            blocked.clone(),
            "Withdrawn: withdrawn by the publisher: harm",
            Wish::TakeOff,
        ),
        (
            with(|m| m.expires = Some(past)),
            "15.2.986.5",
            blocked.clone(),
            "Expired: it ended at 2026-11-22T02:59:00Z",
            Wish::TakeOff,
        ),
        (
            document(vec![mitigation("M1")]),
            "15.2.986.5",
            blocked,
            "Blocked: blocked by this server: printing",
            Wish::Keep,
        ),
        (
            document(vec![mitigation("M1")]),
            "15.2.986.5",
            org_off,
            "Disabled: MitigationsEnabled is off for the organization",
            Wish::Keep,
        ),
        (
            document(vec![mitigation("M1")]),
            "15.2.986.5",
            off,
            "Disabled: MitigationsEnabled is off for this server",
            Wish::Keep,
        ),
        (
            wave.clone(),
            "15.2.986.5",
            paused,
            "Frozen: changes are held until 2026-11-22T05:00:00Z",
            Wish::Keep,
        ),
        (
            wave,
            "15.2.986.5",
            Policy::default(),
            "Scheduled: this server's turn is at 2026-11-22T03:10:00Z",
            Wish::Keep,
        ),
    ];
    for (document, build, policy, expected, wish) in cases {
        let decided = Case { document, build, policy, ..Case::default() }.decide();
        assert_eq!((decided.0.as_str(), decided.1), (expected, wish));
    }
}

#[test]
fn a_word_is_needed_before_the_turn_comes_and_not_for_what_changes_nothing() {
    let required = || Policy { approval: Approval::Required, ..Policy::default() };
    let wave = with(|m| m.rollout = vec![Wave { percent: 100, after_seconds: 600 }]);
    let digest = crate::plan::sha256_hex(wave.mitigations[0].octets.as_bytes());
    let word = |digest: &str| Approved {
        key: "example:M1".parse().unwrap(),
        digest: digest.into(),
        at: now(),
        by: "alice".into(),
        reason: None,
    };
    let decide = |policy: Policy| Case { document: wave.clone(), policy, ..Case::default() }.decide();
    assert!(decide(required()).0.starts_with("AwaitingApproval: nobody approved it yet"));
    let earlier = decide(Policy { approvals: vec![word("other")], ..required() }).0;
    assert!(earlier.contains("another than the one that alice approved"), "{earlier}");
    assert!(decide(Policy { approvals: vec![word(&digest)], ..required() }).0.starts_with("Scheduled"));
    let heartbeat = with(|m| {
        m.actions.truncate(1);
        (m.actions[0].kind, m.applicability) = (ActionKind::DoNothing, None);
    });
    assert_eq!(Case { document: heartbeat, policy: required(), ..Case::default() }.decide().1, Wish::Apply);
}

#[test]
fn a_feed_may_need_a_word_where_the_server_does_not_and_the_other_way_round() {
    let document = document(vec![mitigation("M1")]);
    let decide = |of_server, of_feed| {
        let mut feed = FeedView::of_document("example", &document, now());
        feed.policy.approval = of_feed;
        let policy = Policy { approval: of_server, ..Policy::default() };
        let targets = [target("nginx", "15.2.986.5")];
        let selection = select(&[feed], &targets, &Facts::default(), &policy, &Ledger::default(), now());
        selection.mitigations[0].verdict.word()
    };
    use Approval::{Automatic, Required};
    assert_eq!(decide(Automatic, Some(Required)), "AwaitingApproval");
    assert_eq!(decide(Required, Some(Automatic)), "Applies");
    assert_eq!(decide(Required, None), "AwaitingApproval");
}

#[test]
fn a_pause_holds_what_would_leave_but_not_the_operators_own_revert() {
    let paused = Some(now() + SignedDuration::from_hours(2));
    let mut document = document(vec![mitigation("M1")]);
    document.withdrawn = vec![Withdrawn { id: "M1".parse().unwrap(), reason: "harm".into() }];
    for (blocks, wish) in [(vec![], Wish::Keep), (vec![block("M1", true)], Wish::TakeOff)] {
        let policy = Policy { blocks, paused_until: paused, ..Policy::default() };
        let case = Case { document: document.clone(), policy, in_ledger: true, ..Case::default() };
        let (why, decided) = case.decide();
        assert_eq!(decided, wish, "{why}");
        assert!(why.starts_with("Withdrawn"), "{why}");
    }
}

#[test]
fn revert_blocks_and_takes_off_while_block_only_blocks() {
    for (take_off, wish) in [(false, Wish::Keep), (true, Wish::TakeOff)] {
        let policy = Policy { blocks: vec![block("M01", take_off)], ..Policy::default() };
        assert_eq!(Case { policy, ..Case::default() }.decide().1, wish);
    }
}

#[test]
fn a_blocked_action_leaves_the_others() {
    let policy = Policy { blocks: vec![block("M1.2", false)], ..Policy::default() };
    let document = document(vec![mitigation("M1")]);
    let feeds = [FeedView::of_document("example", &document, now())];
    let targets = [target("nginx", "15.2.986.5")];
    let selection = select(&feeds, &targets, &Facts::default(), &policy, &Ledger::default(), now());
    let selected = &selection.mitigations[0];
    assert_eq!(selected.wish, Wish::Apply);
    let ids: Vec<&str> = selected.actions.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["M1.1"]);
    let kept: Vec<&str> = selected.blocked_actions.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(kept, ["M1.2"]);
}

#[test]
fn every_action_blocked_one_by_one_is_a_blocked_mitigation() {
    let policy = Policy { blocks: vec![block("M1.1", false), block("M1.2", false)], ..Policy::default() };
    assert_eq!(
        Case { policy, ..Case::default() }.decide(),
        ("Blocked: blocked by this server: printing".into(), Wish::Keep)
    );
}

#[test]
fn the_fix_takes_it_off_after_the_soak() {
    let fixed = |fixed_minutes_ago, removal| {
        let policy = Policy { removal, ..Policy::default() };
        Case { build: "15.2.986.36", policy, in_ledger: true, fixed_minutes_ago, ..Case::default() }
            .decide()
            .1
    };
    assert_eq!(fixed(None, Removal::Automatic), Wish::Keep);
    assert_eq!(fixed(Some(29), Removal::Automatic), Wish::Keep);
    assert_eq!(fixed(Some(30), Removal::Automatic), Wish::TakeOff);
    assert_eq!(fixed(Some(3000), Removal::Manual), Wish::Keep);
}

#[test]
fn a_server_whose_version_is_unknown_keeps_what_it_has() {
    let document = document(vec![mitigation("M1")]);
    let mut target = target("nginx", "");
    target.facts.insert("exchange", crate::Fact::Unknown("access denied".into()));
    let decide = |unknown_applies| {
        let mut feed = FeedView::of_document("example", &document, now());
        feed.policy.unknown_applies = unknown_applies;
        let targets = std::slice::from_ref(&target);
        let selection = select(&[feed], targets, &Facts::default(), &Policy::default(), &ledger(None), now());
        (selection.mitigations[0].verdict.word(), selection.mitigations[0].wish)
    };
    assert_eq!(decide(false), ("NotApplicable", Wish::Keep));
    assert_eq!(decide(true), ("Applies", Wish::Apply));
}

#[test]
fn what_vanishes_or_falls_silent_stays() {
    let targets = [target("nginx", "15.2.986.5")];
    let empty = document(vec![]);
    for feed in [
        FeedView::of_document("example", &empty, now()),
        FeedView::silent("example".parse().unwrap(), FeedPolicy::default()),
        FeedView::silent("other".parse().unwrap(), FeedPolicy::default()),
    ] {
        let vanished = feed.document.is_some();
        let selection =
            select(&[feed], &targets, &Facts::default(), &Policy::default(), &ledger(None), now());
        let selected = &selection.mitigations[0];
        assert!(selected.wish != Wish::TakeOff, "{selected:?}");
        assert_eq!(selected.vanished, vanished);
    }
}

#[test]
fn a_target_without_the_named_site_is_not_concerned() {
    let mut m1 = mitigation("M1");
    m1.actions.truncate(1);
    let document = document(vec![m1]);
    let mut other = target("nginx", "15.2.986.5");
    other.sites.clear();
    let feeds = [FeedView::of_document("example", &document, now())];
    let selection =
        select(&feeds, &[other], &Facts::default(), &Policy::default(), &Ledger::default(), now());
    let selected = &selection.mitigations[0];
    assert_eq!(selected.verdict.word(), "NotApplicable");
    assert!(selected.verdict.reason().contains("`Default Web Site`"), "{}", selected.verdict.reason());
}

#[test]
fn a_type_that_the_feed_may_not_bring_is_unsupported_here() {
    let mut document = document(vec![mitigation("M1")]);
    let decide = |document: &Document| {
        let mut feed = FeedView::of_document("example", document, now());
        feed.policy.allow = vec![];
        let targets = [target("nginx", "15.2.986.5")];
        let selection =
            select(&[feed], &targets, &Facts::default(), &Policy::default(), &Ledger::default(), now());
        selection.mitigations[0].verdict.word()
    };
    assert_eq!(decide(&document), "Unsupported");
    document.mitigations[0].actions.iter_mut().for_each(|a| a.kind = ActionKind::DoNothing);
    document.mitigations[0].applicability = None;
    assert_eq!(decide(&document), "Applies");
}

#[test]
fn the_new_one_takes_the_old_ones_place_only_when_it_applies() {
    let decide = |new_applies: bool| {
        let mut m2 = mitigation("M2");
        m2.supersedes = Some("M1".parse().unwrap());
        if !new_applies {
            m2.unsupported = vec!["unknown".into()];
        }
        let document = document(vec![mitigation("M1"), m2]);
        let feeds = [FeedView::of_document("example", &document, now())];
        let targets = [target("nginx", "15.2.986.5")];
        let selection =
            select(&feeds, &targets, &Facts::default(), &Policy::default(), &Ledger::default(), now());
        selection.mitigations.iter().map(|s| s.wish).collect::<Vec<_>>()
    };
    assert_eq!(decide(true), [Wish::TakeOff, Wish::Apply]);
    assert_eq!(decide(false), [Wish::Apply, Wish::Keep]);
}

#[test]
fn what_the_operator_takes_off_does_not_wait_for_its_successor() {
    let mut m2 = mitigation("M2");
    m2.supersedes = Some("M1".parse().unwrap());
    let document = document(vec![mitigation("M1"), m2]);
    let feeds = [FeedView::of_document("example", &document, now())];
    let block = Block {
        id: "M1".parse().unwrap(),
        feed: None,
        level: Level::Server,
        take_off: true,
        reason: None,
        until: None,
    };
    let policy = Policy { blocks: vec![block], ..Policy::default() };
    let targets = [target("nginx", "15.2.986.5")];
    let selection = select(&feeds, &targets, &Facts::default(), &policy, &Ledger::default(), now());
    let m1 = selection.get(&"example:M1".parse().unwrap()).unwrap();
    assert_eq!((m1.wish, &m1.superseded_by, m1.verdict.word()), (Wish::TakeOff, &None, "Blocked"));
}

#[test]
fn a_recall_waits_for_no_soak_and_for_no_readable_fact() {
    for (build, unsupported) in [("15.2.986.36", false), ("a.b", false), ("15.2.986.5", true)] {
        let mut document = with(|m| {
            if unsupported {
                m.unsupported = vec!["unknown".into()];
            }
        });
        document.withdrawn = vec![Withdrawn { id: "M1".parse().unwrap(), reason: "harm".into() }];
        let policy = Policy { removal: Removal::Manual, ..Policy::default() };
        let (why, wish) = Case { document, build, policy, in_ledger: true, ..Case::default() }.decide();
        assert_eq!(wish, Wish::TakeOff, "{why}");
    }
}

#[test]
fn what_harms_or_does_not_reach_every_target_supersedes_nothing() {
    let mut m2 = mitigation("M2");
    m2.supersedes = Some("M1".parse().unwrap());
    m2.octets = "<Config id=\"M2\"/>".into();
    let digest = crate::plan::sha256_hex(m2.octets.as_bytes());
    let document = document(vec![mitigation("M1"), m2]);
    let feeds = [FeedView::of_document("example", &document, now())];
    let targets = [target("nginx", "15.2.986.5")];
    let decide = |ledger: &Ledger| {
        let selection = select(&feeds, &targets, &Facts::default(), &Policy::default(), ledger, now());
        selection.mitigations.iter().map(|s| s.wish).collect::<Vec<_>>()
    };
    let held_on = |target: &str| {
        let hold = crate::observed::Hold {
            key: "example:M1".parse().unwrap(),
            action: "M1.1".parse().unwrap(),
            digest: "d".into(),
            sites: vec![],
            observe: false,
        };
        let mut ledger = Ledger::default();
        ledger.note_left(target, Some("set".into()), vec![hold]);
        ledger
    };
    assert_eq!(decide(&held_on("nginx")), [Wish::TakeOff, Wish::Apply]);
    assert_eq!(decide(&held_on("gateway")), [Wish::Apply, Wish::Apply]);
    let mut harmed = held_on("nginx");
    harmed.note_failure(&"example:M2".parse().unwrap(), &digest, "500", true, now());
    assert_eq!(decide(&harmed), [Wish::Apply, Wish::Apply]);
}

/// Outside a window nothing new comes into force; what is there stays, and what must leave leaves.
#[test]
fn the_truth_table_of_maintenance_windows() {
    let (open, closed) = ("sun 02:00 4h", "sun 22:00 4h");
    let later = "Scheduled: this server's turn is at 2026-11-22T22:00:00Z";
    let applies = |text: &str| text.starts_with("Applies");
    let critical = || {
        let mut mitigation = mitigation("M1");
        mitigation.severity = Some(Severity::Critical);
        document(vec![mitigation])
    };
    let case = |windows: &[&str], change: fn(&mut Case)| {
        let windows = windows.iter().map(|text| text.parse().unwrap()).collect();
        let mut case = Case { policy: Policy { windows, ..Policy::default() }, ..Case::default() };
        change(&mut case);
        case
    };
    let nothing: fn(&mut Case) = |_| {};
    assert!(applies(&case(&[], nothing).decide().0));
    assert!(applies(&case(&[open], nothing).decide().0));
    assert!(applies(&case(&[closed, open], nothing).decide().0));
    assert_eq!(case(&[closed], nothing).decide(), (later.to_owned(), Wish::Keep));
    // What is in force is kept up at any time; another revision of it waits, and leaves it where it is.
    let kept = case(&[closed], nothing);
    let mut books = ledger(None);
    books.mitigations.values_mut().for_each(|entry| {
        entry.digest = crate::plan::sha256_hex(kept.document.mitigations[0].octets.as_bytes());
    });
    let feeds = [FeedView::of_document("example", &kept.document, now())];
    let selection =
        select(&feeds, &[target("nginx", kept.build)], &Facts::default(), &kept.policy, &books, now());
    assert_eq!(selection.mitigations[0].wish, Wish::Apply);
    let another = case(&[closed], |case| case.in_ledger = true);
    assert_eq!(another.decide(), (later.to_owned(), Wish::Keep));
    // `critical` waits like any other, unless it is said that it waits for nothing.
    let mut waits = case(&[closed], nothing);
    waits.document = critical();
    assert_eq!(waits.decide().0, later);
    let mut jumps = case(&[closed], |case| case.policy.critical_at_once = true);
    jumps.document = critical();
    assert!(applies(&jumps.decide().0));
    let by_hand = case(&[closed], |case| case.policy.now = vec!["M1".parse().unwrap()]);
    assert!(applies(&by_hand.decide().0));
    // A ring that ends outside a window waits for the next one; one that ends within it, for its own end.
    let ring = |after_seconds| vec![Wave { percent: 100, after_seconds }];
    let mut outside = case(&[open, closed], nothing);
    outside.policy.rings = ring(4 * 3600);
    assert_eq!(outside.decide().0, later);
    let mut within = case(&[open], nothing);
    within.policy.rings = ring(3600);
    assert_eq!(within.decide().0, "Scheduled: this server's turn is at 2026-11-22T04:00:00Z");
    // What must leave waits for no window.
    let mut recalled = case(&[closed], |case| case.in_ledger = true);
    recalled.document.withdrawn =
        vec![Withdrawn { id: "M1".parse().unwrap(), reason: "it broke printing".into() }];
    assert_eq!(recalled.decide().1, Wish::TakeOff);
    let blocked = case(&[closed], |case| {
        case.in_ledger = true;
        case.policy.blocks = vec![block("M1", true)];
    });
    assert_eq!(blocked.decide().1, Wish::TakeOff);
    let fixed = case(&[closed], |case| {
        (case.in_ledger, case.build, case.fixed_minutes_ago) = (true, "15.2.986.36", Some(31));
    });
    assert_eq!(fixed.decide().1, Wish::TakeOff);
}

#[test]
fn where_nothing_may_be_stopped_rules_go_on_and_what_leaves_leaves() {
    let held = || Policy { stops_held: Some("cap of group web".into()), ..Policy::default() };
    let stop = |mut action: Action| {
        action.kind = ActionKind::Service { names: vec!["cups".into()] };
        action
    };
    let all = |m1: &mut Mitigation| m1.actions = m1.actions.drain(..).map(stop).collect();
    let one = |m1: &mut Mitigation| m1.actions = vec![m1.actions[0].clone(), stop(m1.actions[1].clone())];
    let decide = |document: Document, policy: Policy| {
        let feeds = [FeedView::of_document("example", &document, now()).with(FeedPolicy {
            allow: vec![ActionType::UrlRewrite, ActionType::Service],
            ..FeedPolicy::default()
        })];
        let mut all = target("all", "15.2.986.5");
        all.takes = &[ActionType::UrlRewrite, ActionType::Service];
        let selection = select(&feeds, &[all], &Facts::default(), &policy, &Ledger::default(), now());
        let selected = selection.mitigations.first().cloned().unwrap();
        let ids = |actions: &[Action]| actions.iter().map(|a| a.id.to_string()).collect::<Vec<_>>().join(" ");
        let (new, kept) = (ids(&selected.actions), ids(&selected.blocked_actions));
        let let_in = selection.let_in(&selected.key, &Ledger::default());
        let let_in = let_in.map(|selection| ids(&selection.mitigations[0].actions));
        (selected.verdict, selected.wish, new, kept, let_in)
    };
    let (verdict, wish, .., let_in) = decide(with(all), held());
    assert_eq!(let_in.as_deref(), Some("M1.1 M1.2"), "what it would do once it has a place");
    assert_eq!(
        (verdict.word(), verdict.reason(), wish),
        ("Scheduled", "cap of group web".into(), Wish::Keep)
    );
    // Of one that has both, the rule is put on.
    let (verdict, wish, new, kept, let_in) = decide(with(one), held());
    assert_eq!(let_in, None, "it is in");
    assert_eq!((verdict.word(), wish, new.as_str(), kept.as_str()), ("Applies", Wish::Apply, "M1.1", "M1.2"));
    assert_eq!(decide(with(|_| ()), held()).2, "M1.1 M1.2", "rules are never held back");
    // The operator's word on the server itself, and what takes off.
    assert_eq!(decide(with(all), Policy { now: vec!["M1".parse().unwrap()], ..held() }).1, Wish::Apply);
    assert_eq!(decide(with(all), Policy { blocks: vec![block("M1", true)], ..held() }).1, Wish::TakeOff);
    let mut recalled = with(all);
    recalled.withdrawn = vec![Withdrawn { id: "M1".parse().unwrap(), reason: "wrong".into() }];
    assert_eq!(decide(recalled, held()).1, Wish::TakeOff);
}
