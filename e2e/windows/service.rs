//! The service, as an administrator installs, starts, stops and removes it.

use std::fs;
use std::path::Path;

use windows_service::service::{Service, ServiceAccess, ServiceStartType, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use crate::drive::Drive;
use crate::world::{World, mitigation, ok, run, run_program, wait_until};

const DATA: &str = r"C:\ProgramData\Stopgap";
const PROGRAM: &str = r"C:\Program Files\Stopgap\stopgap.exe";

/// The service; nothing where it is not registered.
fn service() -> Option<Service> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).unwrap();
    manager.open_service("StopgapMitigation", ServiceAccess::QUERY_CONFIG | ServiceAccess::QUERY_STATUS).ok()
}

fn state() -> ServiceState {
    service().unwrap().query_status().unwrap().current_state
}

fn log() -> String {
    let files = fs::read_dir(Path::new(DATA).join("Logs")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Takes the service off with what it put on, and its folders.
fn leave(drive: &Drive) {
    let gone = ok(&["agent", "uninstall", "--revert", "--json"]).json();
    assert!(gone["removed"].to_string().contains("StopgapMitigation"), "{gone:#}");
    assert!(service().is_none());
    drive.assert_untouched();
    fs::remove_dir_all(DATA).unwrap();
    fs::remove_dir_all(Path::new(PROGRAM).parent().unwrap()).unwrap();
}

#[test]
fn the_service_is_registered_with_its_folders_and_leaves() {
    let drive = Drive::new();
    ok(&["agent", "install", "--no-start"]);
    let config = service().unwrap().query_config().unwrap();
    assert_eq!(config.start_type, ServiceStartType::AutoStart);
    let command = config.executable_path.to_string_lossy().into_owned();
    assert!(command.contains(PROGRAM) && command.ends_with("agent run --service"), "{command}");
    assert_eq!(state(), ServiceState::Stopped);
    drive.assert_untouched();

    assert!(Path::new(DATA).join("stopgap.toml").is_file() && Path::new(PROGRAM).is_file());
    leave(&drive);
}

#[test]
fn the_service_protects_while_it_runs_and_after_it_and_leaves_to_the_byte() {
    let drive = Drive::new();
    let world = World::new();
    // As an unattended installation has it: the configuration is there before the program. Without a probe: what the
    // files say is all that is known.
    fs::create_dir_all(DATA).unwrap();
    fs::write(Path::new(DATA).join("stopgap.toml"), format!("server = \"Server1\"\n{}", world.tables(None)))
        .unwrap();
    let installed = ok(&["agent", "install"]);
    assert!(
        installed.stdout.contains("kept") && installed.stdout.contains("started"),
        "{}",
        installed.stdout
    );
    assert_eq!(state(), ServiceState::Running);
    wait_until("M1 is in force", || {
        let report = ok(&["status", "--json"]).json();
        mitigation(&report, "M1")["in_force"] == true
    });
    assert!(drive.holds("Stopgap example M1.1"));

    let stopped = run_program(Path::new(r"C:\windows\system32\sc.exe"), &["stop", "StopgapMitigation"]);
    assert_eq!(stopped.code, 0, "{stopped:#?}");
    wait_until("the service has stopped", || state() == ServiceState::Stopped);
    let log = log();
    for words in ["started", "example:M1 is in force", "stopgap stopped; what is in force stays in force"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(drive.holds("Stopgap example M1.1"), "what is in force stays");

    // It is started again by the next installation, as after an update.
    ok(&["agent", "install"]);
    assert_eq!(state(), ServiceState::Running);
    leave(&drive);
}

#[test]
fn a_service_that_cannot_read_its_configuration_says_so_in_its_log() {
    let drive = Drive::new();
    ok(&["agent", "install", "--no-start"]);
    let config = Path::new(DATA).join("stopgap.toml");
    let before = fs::read(&config).unwrap();
    fs::write(&config, "interval = \"soon\"\n").unwrap();
    // Whether it is seen running before it ends is a matter of moments.
    run(&["agent", "install"]);
    wait_until("the service has ended", || state() == ServiceState::Stopped);
    let log = log();
    assert!(log.contains("the service ended: ") && log.contains("interval"), "{log}");
    fs::write(&config, before).unwrap();
    leave(&drive);
}
