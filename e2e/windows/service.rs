//! The service, as an administrator registers and removes it. Not in here yet: its start by the control manager.

use std::fs;
use std::path::Path;

use windows_service::service::{Service, ServiceAccess, ServiceStartType, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use crate::drive::Drive;
use crate::world::ok;

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
    let gone = ok(&["agent", "uninstall", "--revert", "--json"]).json();
    assert!(gone["removed"].to_string().contains("StopgapMitigation"), "{gone:#}");
    assert!(service().is_none());
    drive.assert_untouched();
    fs::remove_dir_all(DATA).unwrap();
    fs::remove_dir_all(Path::new(PROGRAM).parent().unwrap()).unwrap();
}
