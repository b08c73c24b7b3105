//! Facts about Exchange from what the registry and the files of real servers say.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use stopgap_iis::exchange::{
    BUILDS, Build, EXCHANGE, Installation, Product, Reading, Readings, Role, RoleKey, Windows,
    WindowsReadings, dotted, exchange, facts, windows,
};

fn value(text: &str) -> Reading {
    Reading::Value(text.into())
}

fn role(name: &str) -> RoleKey {
    RoleKey { name: name.into(), configured: value("15.2.986.5"), watermark: Reading::Absent }
}

/// A Mailbox server of 2019 CU11 with the November 2022 security update, as its registry has it.
fn mailbox_server() -> Readings {
    Readings {
        install_path: value(r"C:\Program Files\Microsoft\Exchange Server\V15\"),
        msi: [value("15"), value("2"), value("986"), value("5")],
        ex_setup: value("15.02.0986.036"),
        roles: ["AdminTools", "CafeRole", "FrontendTransportRole", "HubTransportRole", "MailboxRole"]
            .map(role)
            .into(),
        iis: value("Version 10.0"),
        url_rewrite: value("7.1.1993.2351"),
        windows: WindowsReadings {
            major: value("10"),
            minor: value("0"),
            current: value("6.3"),
            build: value("17763"),
            revision: value("6414"),
        },
    }
}

fn with_build(file: &str) -> Readings {
    Readings { ex_setup: value(file), msi: Default::default(), ..mailbox_server() }
}

fn unknown(readings: &Readings) -> String {
    match exchange(readings) {
        Installation::Unknown(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn real_builds_have_their_product_release_and_mitigation_service() {
    let table = [
        ("15.00.0516.032", "Exchange Server 2013 RTM (15.0.516.32)", false),
        ("15.00.0847.062", "Exchange Server 2013 SP1 (15.0.847.62)", false),
        ("15.00.1473.006", "Exchange Server 2013 CU22 (15.0.1473.6)", false),
        ("15.00.1497.048", "Exchange Server 2013 CU23 (15.0.1497.48)", false),
        ("15.01.0225.016", "Exchange Server 2016 Preview (15.1.225.16)", false),
        ("15.01.0225.042", "Exchange Server 2016 RTM (15.1.225.42)", false),
        ("15.01.1591.018", "Exchange Server 2016 CU11 (15.1.1591.18)", false),
        ("15.01.2308.027", "Exchange Server 2016 CU21 (15.1.2308.27)", false),
        ("15.01.2375.007", "Exchange Server 2016 CU22 (15.1.2375.7)", true),
        ("15.01.2507.069", "Exchange Server 2016 CU23 (15.1.2507.69)", true),
        ("15.02.0221.012", "Exchange Server 2019 RTM (15.2.221.12)", false),
        ("15.02.0922.027", "Exchange Server 2019 CU10 (15.2.922.27)", false),
        ("15.02.0986.005", "Exchange Server 2019 CU11 (15.2.986.5)", true),
        ("15.02.1118.040", "Exchange Server 2019 CU12 (15.2.1118.40)", true),
        ("15.02.1258.039", "Exchange Server 2019 CU13 (15.2.1258.39)", true),
        ("15.02.1544.041", "Exchange Server 2019 CU14 (15.2.1544.41)", true),
        ("15.02.1748.046", "Exchange Server 2019 CU15 (15.2.1748.46)", true),
        ("15.02.2562.017", "Exchange Server SE RTM (15.2.2562.17)", true),
        ("15.02.2562.043", "Exchange Server SE RTM (15.2.2562.43)", true),
        // Not listed: what is told is the product, by the numbers around.
        ("15.02.1600.001", "Exchange Server 2019, a build that is not listed (15.2.1600.1)", true),
        ("15.02.3000.005", "Exchange Server SE, a build that is not listed (15.2.3000.5)", true),
        // Below the first build of its number: a build before the release.
        ("15.02.0986.001", "Exchange Server 2019, a build that is not listed (15.2.986.1)", false),
    ];
    for (file, expected, service) in table {
        let Installation::Present(found) = exchange(&with_build(file)) else { panic!("{file}") };
        assert_eq!(
            (found.to_string().as_str(), found.has_mitigation_service()),
            (expected, service),
            "{file}"
        );
    }
}

#[test]
fn the_table_is_sorted_and_its_releases_stand_for_themselves() {
    assert_eq!(BUILDS.len(), 24 + 25 + 17 + 1);
    assert!(BUILDS.windows(2).all(|two| two[0].first < two[1].first));
    for release in BUILDS {
        assert_eq!(Product::of(release.first), Some(release.product), "{release:?}");
        let Installation::Present(found) = exchange(&with_build(&release.first.to_string())) else {
            panic!()
        };
        assert_eq!(found.release, Some(release));
    }
}

#[test]
fn a_build_is_read_in_each_of_its_three_forms_and_in_no_other() {
    let build = Build::new(15, 2, 986, 5);
    for text in ["15.2.986.5", "15.02.0986.005", "Version 15.2 (Build 986.5)", " 15.2.986.5 "] {
        assert_eq!(text.parse(), Ok(build), "{text}");
    }
    let refused = [
        "",
        "15",
        "15.2.986",
        "15.2.986.5.1",
        "15.2.986.",
        "15.2.986.x",
        "15.2.+986.5",
        "15.2.-1.5",
        "15.2.99999999999.5",
        "15.2 (Build 986.5)",
        "Version 15.2 (Build 986.5",
        "Version 15.2 (Build 986)",
    ];
    for text in refused {
        assert_eq!(text.parse::<Build>().unwrap_err().found, text);
    }
    assert!(Build::new(15, 2, 986, 5) < Build::new(15, 2, 1118, 7), "numbers, not text");
}

#[test]
fn the_security_update_of_the_file_counts_not_the_registrys_build() {
    let Installation::Present(found) = exchange(&mailbox_server()) else { panic!() };
    assert_eq!(found.build.to_string(), "15.2.986.36");
    assert_eq!(found.roles, [Role::Mailbox, Role::ClientAccess]);
}

#[test]
fn a_server_without_exchange_has_no_fact_of_it() {
    assert_eq!(exchange(&Readings::default()), Installation::None);
    assert_eq!(facts(&Readings::default()), []);
}

#[test]
fn an_edge_server_and_the_tools_alone_are_left_alone_and_state_no_build() {
    for (roles, why) in
        [(vec!["EdgeTransportRole"], "Edge"), (vec!["AdminTools"], "tools"), (vec![], "tools")]
    {
        let readings = Readings { roles: roles.into_iter().map(role).collect(), ..mailbox_server() };
        let Installation::LeftAlone(reason) = exchange(&readings) else { panic!() };
        assert!(reason.contains(why), "{reason}");
        assert!(facts(&readings).iter().all(|(name, _)| *name != EXCHANGE));
    }
}

#[test]
fn a_role_that_setup_has_not_configured_is_none() {
    let unconfigured = RoleKey { configured: Reading::Absent, ..role("MailboxRole") };
    let readings = Readings { roles: vec![unconfigured], ..mailbox_server() };
    assert!(matches!(exchange(&readings), Installation::LeftAlone(_)));
}

#[test]
fn what_cannot_be_told_is_unknown_with_its_reason() {
    let server = mailbox_server;
    let denied = || Reading::Unreadable("access denied".into());
    let cases = [
        (Readings { install_path: denied(), ..server() }, "MsiInstallPath: access denied"),
        (Readings { ex_setup: denied(), ..server() }, "ExSetup.exe: access denied"),
        (Readings { ex_setup: Reading::Absent, ..server() }, "ExSetup.exe has no version"),
        (Readings { ex_setup: value("fifteen"), ..server() }, "`fifteen` is no build"),
        (
            Readings { ex_setup: value("15.02.1118.007"), ..server() },
            "15.2.1118.7 and the registry 15.2.986.5",
        ),
        (Readings { msi: [value("15"), value("2"), value("?"), value("5")], ..server() }, "`?` for a number"),
        (with_build("14.03.0123.004"), "14.3.123.4 is no build of Exchange 2013"),
        (with_build("16.00.0001.000"), "16.0.1.0 is no build"),
        (
            Readings { roles: vec![RoleKey { watermark: value("x"), ..role("MailboxRole") }], ..server() },
            "setup has begun and not finished: `MailboxRole`",
        ),
        (
            Readings { roles: vec![RoleKey { configured: denied(), ..role("MailboxRole") }], ..server() },
            "MailboxRole, ConfiguredVersion: access denied",
        ),
    ];
    for (readings, expected) in cases {
        let why = unknown(&readings);
        assert!(why.contains(expected), "{why}\nexpected {expected}");
        assert_eq!(facts(&readings)[0], (EXCHANGE, Err(why)));
    }
}

#[test]
fn facts_name_exchange_iis_its_module_and_windows() {
    let expected = [
        ("exchange", Ok("15.2.986.36".into())),
        ("iis", Ok("10.0".into())),
        ("iis-url-rewrite", Ok("7.1.1993.2351".into())),
        ("windows", Ok("10.0.17763.6414".into())),
    ];
    assert_eq!(facts(&mailbox_server()), expected);

    let readings = Readings {
        iis: Reading::Unreadable("access denied".into()),
        url_rewrite: value("two"),
        ..mailbox_server()
    };
    let found = facts(&readings);
    assert_eq!(found[1], ("iis", Err("access denied".into())));
    assert!(found[2].1.as_ref().unwrap_err().contains("`two` is no version"), "{found:?}");
}

#[test]
fn windows_states_its_version_in_new_values_and_in_the_old_one() {
    let version =
        |readings: &WindowsReadings| windows(readings).unwrap().map(|windows: Windows| windows.version());
    let new = mailbox_server().windows;
    assert_eq!(version(&new), Ok("10.0.17763.6414".into()));
    assert_eq!(windows(&new).unwrap().unwrap().name(), Some("Windows Server 2019"));
    let old = WindowsReadings { current: value("6.3"), build: value("9600"), ..Default::default() };
    assert_eq!(version(&old), Ok("6.3.9600".into()));
    assert_eq!(windows(&old).unwrap().unwrap().name(), Some("Windows Server 2012 R2"));
    let broken = WindowsReadings { build: Reading::Absent, ..new.clone() };
    assert_eq!(version(&broken), Err("CurrentBuildNumber is missing".into()));
    let broken = WindowsReadings { revision: value("many"), ..new };
    assert_eq!(version(&broken), Err("UBR is `many`, expected a number".into()));
    assert_eq!(windows(&WindowsReadings::default()), None);
}

#[test]
fn versions_are_dotted_numbers_without_leading_zeros() {
    for (text, expected) in
        [("Version 8.5", "8.5"), ("7.2.1993", "7.2.1993"), ("07.01.0871.000", "7.1.871.0")]
    {
        assert_eq!(dotted(text), Ok(expected.into()));
    }
    for text in ["", "Version", "10.", "v4.0", "1.2.3.4.5.6.7.8.9", "12345678901"] {
        assert!(dotted(text).is_err(), "{text}");
    }
}
