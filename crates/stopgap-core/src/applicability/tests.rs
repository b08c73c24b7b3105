use super::*;
use std::sync::Arc;

use crate::facts::{Asked, Fact, Found, Installed, Looked, Old, Packages, Running};
use stopgap_feed::document::{Detect, VersionScheme};

fn exchange(ranges: &[(&str, &str)]) -> Condition {
    Condition::Product(Product {
        name: "exchange".into(),
        scheme: VersionScheme::Dotted,
        ecosystem: None,
        detect: Vec::new(),
        ranges: ranges
            .iter()
            .map(|(from, below)| Range {
                from: Some((*from).into()),
                below: Some((*below).into()),
                through: None,
            })
            .collect(),
    })
}

fn m1() -> Condition {
    Condition::Any(vec![exchange(&[
        ("15.1.0.0", "15.1.2375.37"),
        ("15.1.2507.0", "15.1.2507.16"),
        ("15.2.0.0", "15.2.986.36"),
        ("15.2.1118.0", "15.2.1118.20"),
    ])])
}

#[test]
fn fixed_builds_are_told_apart_per_branch() {
    for (build, affected) in [
        ("15.2.986.5", true),
        ("15.2.986.36", false),
        ("15.2.1118.7", true),
        ("15.2.1118.20", false),
        ("15.1.2507.6", true),
        ("15.1.2507.16", false),
        ("15.2.1258.12", false),
    ] {
        let facts: Facts = [("exchange", build)].into_iter().collect();
        let holds = matches!(judge(Some(&m1()), &facts), Applicability::Holds(_));
        assert_eq!(holds, affected, "{build}");
    }
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let mut facts = Facts::default();
    assert!(matches!(judge(Some(&m1()), &facts), Applicability::DoesNotHold(_)));
    facts.insert("exchange", Fact::Unknown("access denied".into()));
    assert!(matches!(judge(Some(&m1()), &facts), Applicability::Unknown(_)));
    facts.insert("exchange", Fact::Version("fifteen".into()));
    assert!(matches!(judge(Some(&m1()), &facts), Applicability::Unknown(_)));
}

fn roundcube() -> Condition {
    Condition::Product(Product {
        name: "roundcube".into(),
        scheme: VersionScheme::Dpkg,
        ecosystem: Some("Debian:12".into()),
        detect: Vec::new(),
        ranges: vec![Range { from: None, below: Some("1.6.5+dfsg-1+deb12u5".into()), through: None }],
    })
}

fn debian(ecosystem: &str, packages: &[(&str, &str)]) -> Facts {
    let mut facts: Facts = [(crate::facts::ECOSYSTEM, ecosystem)].into_iter().collect();
    let mut installed = Installed::default();
    for (name, version) in packages {
        installed.insert((&format!("{name}-core"), version), (name, version));
    }
    facts.set_packages(Packages::Installed(installed));
    facts
}

#[test]
fn a_package_is_judged_by_its_distributions_own_number() {
    let judged = |facts: &Facts| judge(Some(&roundcube()), facts);
    let affected = debian("Debian:12", &[("roundcube", "1.6.5+dfsg-1+deb12u4")]);
    assert_eq!(
        judged(&affected),
        Applicability::Holds("roundcube 1.6.5+dfsg-1+deb12u4 is below 1.6.5+dfsg-1+deb12u5".into())
    );
    let fixed = debian("Debian:12", &[("roundcube", "1.6.5+dfsg-1+deb12u13")]);
    assert!(matches!(judged(&fixed), Applicability::DoesNotHold(_)));
    // Two architectures, one of them left behind.
    let half =
        debian("Debian:12", &[("roundcube", "1.6.5+dfsg-1+deb12u13"), ("roundcube", "1.6.5+dfsg-1+deb12u1")]);
    assert!(matches!(judged(&half), Applicability::Holds(_)));
    assert_eq!(
        judged(&debian("Debian:12", &[("nginx", "1.22.1-9")])),
        Applicability::DoesNotHold("roundcube is not installed here".into())
    );
}

#[test]
fn numbers_of_another_distribution_do_not_count() {
    let ubuntu = debian("Ubuntu:24.04", &[("roundcube", "1.6.5+dfsg-1")]);
    assert_eq!(
        judge(Some(&roundcube()), &ubuntu),
        Applicability::DoesNotHold(
            "roundcube: its versions are those of Debian:12, and this server is Ubuntu:24.04".into()
        )
    );
    assert!(matches!(judge(Some(&roundcube()), &Facts::default()), Applicability::DoesNotHold(_)));
    // A proxy says what stands behind it, and its own packages are not that host's.
    let behind: Facts =
        [(crate::facts::ECOSYSTEM, "Debian:12"), ("roundcube", "1.6.5+dfsg-1")].into_iter().collect();
    assert!(matches!(judge(Some(&roundcube()), &ubuntu.overlaid(&behind)), Applicability::Holds(_)));
    let other: Facts = [(crate::facts::ECOSYSTEM, "Debian:12")].into_iter().collect();
    assert!(matches!(judge(Some(&roundcube()), &ubuntu.overlaid(&other)), Applicability::DoesNotHold(_)));
}

#[test]
fn a_database_that_cannot_be_read_is_neither_yes_nor_no() {
    let mut facts = debian("Debian:12", &[]);
    facts.set_packages(Packages::Unreadable("permission denied".into()));
    assert_eq!(
        judge(Some(&roundcube()), &facts),
        Applicability::Unknown("whether roundcube is installed cannot be told: permission denied".into())
    );
    facts.insert(crate::facts::ECOSYSTEM, Fact::Unknown("no os-release".into()));
    assert!(matches!(judge(Some(&roundcube()), &facts), Applicability::Unknown(_)));
}

#[test]
fn a_vendors_number_is_not_compared_with_a_packages() {
    let facts = debian("Debian:12", &[("exchange", "15.2.986.5")]);
    let Applicability::DoesNotHold(why) = judge(Some(&m1()), &facts) else { panic!("it is a package") };
    assert!(why.contains("a distribution's package"), "{why}");
}

#[test]
fn all_needs_every_part_and_any_needs_one() {
    let os = |name: &str| {
        Condition::Product(Product {
            name: name.into(),
            scheme: VersionScheme::Dotted,
            ecosystem: None,
            detect: Vec::new(),
            ranges: vec![],
        })
    };
    let facts: Facts = [("exchange", "15.2.986.5"), ("linux", "6.1")].into_iter().collect();
    let both = |a, b| Condition::All(vec![a, b]);
    assert!(matches!(judge(Some(&both(m1(), os("linux"))), &facts), Applicability::Holds(_)));
    assert!(matches!(judge(Some(&both(m1(), os("windows"))), &facts), Applicability::DoesNotHold(_)));
    let either = Condition::Any(vec![os("windows"), os("linux")]);
    assert!(matches!(judge(Some(&either), &facts), Applicability::Holds(_)));
    assert!(matches!(judge(None, &Facts::default()), Applicability::Holds(_)));
}

fn detecting(scheme: VersionScheme, detect: Vec<Detect>, below: Option<&str>) -> Condition {
    Condition::Product(Product {
        name: "portal".into(),
        scheme,
        ecosystem: None,
        detect,
        ranges: below
            .map(|below| Range { from: None, below: Some(below.into()), through: None })
            .into_iter()
            .collect(),
    })
}

fn file() -> Detect {
    Detect::File { path: "/opt/portal/VERSION".into(), pattern: "(.*)".into() }
}

fn looked(found: Found) -> Facts {
    let mut facts = debian("Debian:12", &[]);
    let detected = [(file(), found)].into_iter().collect();
    facts.set_looked(Arc::new(Looked { detected, ..Looked::default() }));
    facts
}

#[test]
fn a_product_that_nobody_states_is_judged_by_what_was_found_of_it() {
    let below =
        |found| judge(Some(&detecting(VersionScheme::Dotted, vec![file()], Some("4.2"))), &looked(found));
    let holds = |why: &str| Applicability::Holds(why.to_owned());
    assert_eq!(below(Found::Version("4.1.9".into())), holds("portal 4.1.9 is below 4.2"));
    assert!(matches!(below(Found::Version("4.2".into())), Applicability::DoesNotHold(_)));
    assert!(matches!(below(Found::Version("four".into())), Applicability::Unknown(_)));
    assert_eq!(
        below(Found::Absent("there is no /opt/portal/VERSION".into())),
        Applicability::DoesNotHold("portal is not on this server: there is no /opt/portal/VERSION".into())
    );
    assert!(matches!(below(Found::Unreadable("it holds no version".into())), Applicability::Unknown(_)));
    assert!(matches!(below(Found::Unknown("permission denied".into())), Applicability::Unknown(_)));
    assert!(matches!(below(Found::Unsupported("the pattern".into())), Applicability::Unsupported(_)));

    // Without a range it suffices that it is here.
    let any = |found| judge(Some(&detecting(VersionScheme::Dotted, vec![file()], None)), &looked(found));
    assert_eq!(any(Found::Version("4".into())), holds("portal 4 is on this server"));
    assert_eq!(any(Found::Unreadable("garbage".into())), holds("portal is on this server (garbage)"));
    assert!(matches!(any(Found::Unknown("permission denied".into())), Applicability::Unknown(_)));

    // What was not looked for is no answer.
    let none = judge(Some(&detecting(VersionScheme::Dotted, vec![file()], Some("4.2"))), &debian("x", &[]));
    assert!(matches!(none, Applicability::Unknown(_)));
}

#[test]
fn what_the_operator_states_wins_over_what_was_found() {
    let condition = detecting(VersionScheme::Dotted, vec![file()], Some("4.2"));
    let mut facts = looked(Found::Version("4.1".into()));
    facts.insert("portal", Fact::Version("5.0".into()));
    assert!(matches!(judge(Some(&condition), &facts), Applicability::DoesNotHold(_)));
    // Behind a proxy to another host this server's files tell nothing.
    let behind: Facts = [(crate::facts::ECOSYSTEM, "Debian:12")].into_iter().collect();
    let mut facts = looked(Found::Version("4.1".into())).overlaid(&behind);
    facts.set_looked(looked_up(&looked(Found::Version("4.1".into()))));
    let Applicability::DoesNotHold(why) = judge(Some(&condition), &facts) else { panic!("{facts:?}") };
    assert!(why.contains("another host"), "{why}");
}

#[test]
fn a_vendors_package_needs_no_ecosystem_and_no_fact() {
    let detect =
        vec![Detect::Dpkg { package: "portal-core".into() }, Detect::Rpm { package: "portal".into() }];
    let condition = detecting(VersionScheme::Dpkg, detect, Some("1:2.0-1"));
    let judged = |facts: &Facts| judge(Some(&condition), facts);
    for ecosystem in ["Debian:12", "Ubuntu:24.04"] {
        let facts = debian(ecosystem, &[("portal", "1:1.9-4")]);
        assert_eq!(judged(&facts), Applicability::Holds("portal 1:1.9-4 is below 1:2.0-1".into()));
    }
    assert!(matches!(judged(&debian("Debian:12", &[("portal", "1:2.0-1")])), Applicability::DoesNotHold(_)));
    assert_eq!(
        judged(&debian("Debian:12", &[])),
        Applicability::DoesNotHold(
            "portal is not on this server: package portal-core is not installed; package portal is of another \
             package manager"
                .into()
        )
    );
    let mut facts = debian("Debian:12", &[]);
    facts.set_packages(Packages::Unreadable("permission denied".into()));
    assert!(matches!(judged(&facts), Applicability::Unknown(_)));
}

#[test]
fn one_way_that_is_affected_suffices_and_one_that_cannot_be_read_is_not_passed_over() {
    let two = || vec![file(), Detect::Dpkg { package: "portal".into() }];
    let condition = detecting(VersionScheme::Dpkg, two(), Some("2.0-1"));
    let both = |found, version| {
        let mut facts = debian("Debian:12", &[("portal", version)]);
        facts.set_looked(looked_up(&looked(found)));
        judge(Some(&condition), &facts)
    };
    let unreadable = || Found::Unreadable("it holds no version".into());
    assert!(matches!(both(unreadable(), "1.9-1"), Applicability::Holds(_)));
    assert!(matches!(both(unreadable(), "2.0-1"), Applicability::Unknown(_)));
    assert!(matches!(both(Found::Version("1.0".into()), "2.0-1"), Applicability::Holds(_)));
    assert!(matches!(both(Found::Absent("x".into()), "2.0-1"), Applicability::DoesNotHold(_)));
}

fn with_running(installed: &str, running: Running) -> Applicability {
    let mut facts = debian("Debian:12", &[("roundcube", installed)]);
    let running = [("roundcube".to_owned(), running)].into_iter().collect();
    facts.set_looked(Arc::new(Looked { running, ..Looked::default() }));
    judge(Some(&roundcube()), &facts)
}

fn old(versions: &[&str], older: bool) -> Running {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    Running { old: vec![Old { pid: 812, name: "nginx".into(), versions, older }], unread: None }
}

#[test]
fn a_process_that_runs_the_files_from_before_keeps_what_it_needs() {
    const FIXED: &str = "1.6.5+dfsg-1+deb12u5";
    let before = "1.6.5+dfsg-1+deb12u4";
    assert_eq!(
        with_running(FIXED, old(&[before], false)),
        Applicability::Holds(
            "roundcube 1.6.5+dfsg-1+deb12u5 is in none of the affected ranges, but process 812 (nginx) still runs \
             the files from before, 1.6.5+dfsg-1+deb12u4, which is below 1.6.5+dfsg-1+deb12u5: restart it"
                .into()
        )
    );
    // From an update that came after the fix.
    assert!(matches!(
        with_running("1.6.5+dfsg-1+deb12u6", old(&[FIXED], false)),
        Applicability::DoesNotHold(_)
    ));
    let Applicability::Unknown(why) = with_running(FIXED, old(&[], true)) else { panic!("nobody saw it") };
    assert!(why.contains("process 812 (nginx)") && why.contains("restart it"), "{why}");
    assert!(matches!(with_running(FIXED, old(&[before], true)), Applicability::Holds(_)));
    assert!(matches!(with_running("1.6.5+dfsg-1+deb12u6", old(&[FIXED], true)), Applicability::Unknown(_)));
    let unread = Running { old: vec![], unread: Some("41 of 93 processes".into()) };
    let Applicability::Unknown(why) = with_running(FIXED, unread.clone()) else {
        panic!("not all were seen")
    };
    assert!(why.ends_with("41 of 93 processes"), "{why}");
    // What is installed decides first.
    assert!(matches!(with_running(before, unread), Applicability::Holds(_)));
}

#[test]
fn of_kernels_the_newest_and_the_one_that_runs_count() {
    let condition = Condition::Product(Product {
        name: "linux".into(),
        scheme: VersionScheme::Dpkg,
        ecosystem: Some("Debian:12".into()),
        detect: vec![],
        ranges: vec![Range { from: None, below: Some("6.1.90-1".into()), through: None }],
    });
    let judged = |images: &[(&str, &str)], running: Option<Fact>| {
        let mut facts: Facts = [(crate::facts::ECOSYSTEM, "Debian:12")].into_iter().collect();
        let mut installed = Installed::default();
        for (name, version) in images {
            installed.insert((name, version), ("linux-signed-amd64", version));
        }
        // Headers, built from the source of that name, are no kernel.
        installed.insert(("linux-libc-dev", "6.1.1-1"), ("linux", "6.1.1-1"));
        facts.set_packages(Packages::Installed(installed));
        if let Some(running) = running {
            facts.set_kernel(running);
        }
        judge(Some(&condition), &facts)
    };
    let old = ("linux-image-6.1.0-18-amd64", "6.1.76-1");
    let new = ("linux-image-6.1.0-21-amd64", "6.1.90-1");
    let runs = |version: &str| Some(Fact::Version(version.into()));
    assert!(matches!(judged(&[old], runs("6.1.76-1")), Applicability::Holds(_)));
    let Applicability::Holds(why) = judged(&[old, new], runs("6.1.76-1")) else { panic!("it still runs") };
    assert!(why.contains("the kernel that runs is 6.1.76-1"), "{why}");
    assert!(matches!(judged(&[old, new], runs("6.1.90-1")), Applicability::DoesNotHold(_)));
    let unknown = Fact::Unknown("somebody else's".into());
    assert!(matches!(judged(&[old, new], Some(unknown.clone())), Applicability::Unknown(_)));
    assert!(matches!(judged(&[old], Some(unknown.clone())), Applicability::Holds(_)));
    assert!(matches!(judged(&[], Some(unknown)), Applicability::DoesNotHold(_)));
    assert!(matches!(judged(&[], runs("6.1.76-1")), Applicability::Holds(_)));
}

#[test]
fn what_is_asked_for_is_collected_from_every_depth() {
    let packages = |asked: &Asked| asked.packages.iter().cloned().collect::<Vec<_>>();
    let mut mitigation = stopgap_feed::document::Mitigation::from_octets(
        "<Config id=\"M1\"><ActionList><Action type=\"DoNothing\" scope=\"Server\"/></ActionList></Config>",
    )
    .unwrap();
    let mut asked = Asked::default();
    asked.by(&mitigation);
    assert_eq!(asked, Asked::default());
    let detect = vec![Detect::Dpkg { package: "portal".into() }, file()];
    let inner = Condition::Any(vec![roundcube(), detecting(VersionScheme::Dpkg, detect, None)]);
    mitigation.applicability = Some(Condition::All(vec![m1(), inner]));
    asked.by(&mitigation);
    assert_eq!(packages(&asked), ["portal", "roundcube"]);
    assert_eq!(asked.detect.into_iter().collect::<Vec<_>>(), [file()]);
}

fn looked_up(facts: &Facts) -> Arc<Looked> {
    Arc::new(facts.looked().clone())
}

/// A front of the group `web` whose members have these builds; `?`: one that cannot be read, nothing: none yet.
fn front(members: &[(&str, Option<&str>)], server: &[(&str, &str)], own: &[(&str, &str)]) -> Facts {
    use crate::fronted::{Member, of};
    let fact = |text: &str| match text {
        "?" => Fact::Unknown("locked".into()),
        build => Fact::Version(build.into()),
    };
    let facts: Vec<_> = members
        .iter()
        .map(|(name, build)| (*name, build.map(|build| [("exchange".to_owned(), fact(build))].into())))
        .collect();
    let members: Vec<Member<'_>> =
        facts.iter().map(|(name, facts)| Member { name, facts: facts.as_ref() }).collect();
    let own: Facts = own.iter().copied().collect();
    let server: Facts = server.iter().copied().collect();
    server.overlaid(&own).fronting("web", of(&members), &own)
}

#[test]
fn a_front_is_affected_where_any_member_is_and_fixed_where_all_are() {
    const OLD: &str = "15.2.986.5";
    const NEW: &str = "15.2.986.36";
    let holds = |why: &str| Applicability::Holds(why.into());
    let fixed = |why: &str| Applicability::DoesNotHold(why.into());
    let unknown = |why: &str| Applicability::Unknown(why.into());
    let affected = "is from 15.2.0.0 and below 15.2.986.36";
    let none = "is in none of the affected ranges";
    type Case<'a> = (&'a [(&'a str, Option<&'a str>)], Applicability);
    let table: &[Case<'_>] = &[
        (
            &[("mail1", Some(NEW)), ("mail3", Some(OLD))],
            holds(&format!("exchange {OLD} (group web: mail3) {affected}")),
        ),
        // The lowest is mended, and the higher one of another branch is not.
        (
            &[("mail1", Some(NEW)), ("mail2", Some("15.2.1118.7"))],
            holds("exchange 15.2.1118.7 (group web: mail2) is from 15.2.1118.0 and below 15.2.1118.20"),
        ),
        (
            &[("mail1", Some(NEW)), ("mail2", Some("15.2.1118.20"))],
            fixed(&format!("exchange {NEW} (group web: mail1), 15.2.1118.20 (group web: mail2) {none}")),
        ),
        // What is not known hides nothing that is.
        (
            &[("mail1", Some("?")), ("mail2", Some(OLD))],
            holds(&format!("exchange {OLD} (group web: mail2) {affected}")),
        ),
        (
            &[("mail1", Some("?")), ("mail2", Some(NEW))],
            unknown(&format!("exchange {NEW} (group web: mail2), and of group web: mail1: locked")),
        ),
        (
            &[("mail1", Some("?"))],
            unknown("the version of exchange cannot be read: of group web: mail1: locked"),
        ),
        (
            &[("mail1", Some(NEW)), ("mail2", None)],
            unknown(&format!(
                "exchange {NEW} (group web: mail1), and of group web: mail2 has not reported yet"
            )),
        ),
        (
            &[("mail2", None)],
            unknown(
                "whether exchange is behind this server cannot be told: group web: mail2 has not reported yet",
            ),
        ),
        (&[], unknown("whether exchange is behind this server cannot be told: group web: it has no members")),
    ];
    for (members, expected) in table {
        let judged = judge(Some(&exchange_of_two_branches()), &front(members, &[], &[]));
        assert_eq!(judged, *expected, "{members:?}");
    }
}

fn exchange_of_two_branches() -> Condition {
    exchange(&[("15.2.0.0", "15.2.986.36"), ("15.2.1118.0", "15.2.1118.20")])
}

#[test]
fn a_group_stands_before_the_server_and_the_targets_own_word_before_the_group() {
    let judged = |members: &[(&str, Option<&str>)], server: &[(&str, &str)], own: &[(&str, &str)]| {
        judge(Some(&exchange_of_two_branches()), &front(members, server, own))
    };
    let (old, new) = ("15.2.986.5", "15.2.986.36");
    let affected = |answer| matches!(answer, Applicability::Holds(_));
    let fixed = |answer| matches!(answer, Applicability::DoesNotHold(_));
    assert!(affected(judged(&[("mail1", Some(old))], &[("exchange", new)], &[])));
    assert!(fixed(judged(&[("mail1", Some(new))], &[("exchange", old)], &[])));
    assert!(fixed(judged(&[("mail1", Some(old))], &[], &[("exchange", new)])));
    assert!(fixed(judged(&[("mail1", None)], &[], &[("exchange", new)])), "nobody else is asked");
    // Where the group may have it, this server's own is not the whole answer.
    let silent = judged(&[("mail1", None)], &[("exchange", new)], &[]);
    assert!(matches!(&silent, Applicability::Unknown(why) if why.contains("mail1 has not")), "{silent:?}");
    assert!(affected(judged(&[("mail1", None)], &[("exchange", old)], &[])));
    // What the group does not have is judged as on any server.
    let portal = Condition::Product(Product {
        name: "portal".into(),
        scheme: VersionScheme::Dotted,
        ecosystem: None,
        detect: Vec::new(),
        ranges: vec![Range { from: None, below: Some("5".into()), through: None }],
    });
    let here = judge(Some(&portal), &front(&[("mail1", Some(old))], &[("portal", "4")], &[]));
    assert_eq!(here, Applicability::Holds("portal 4 is below 5".into()));
    let any = Condition::Product(Product {
        name: "exchange".into(),
        scheme: VersionScheme::Dotted,
        ecosystem: None,
        detect: Vec::new(),
        ranges: Vec::new(),
    });
    let here = judge(Some(&any), &front(&[("mail1", Some(old))], &[], &[]));
    assert_eq!(
        here,
        Applicability::Holds(format!("exchange {old} (group web: mail1) is behind this server"))
    );
}
