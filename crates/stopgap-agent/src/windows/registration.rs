//! The service in the service control manager's book: registered, started, stopped, taken out.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use windows_service::Error;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceFailureActions,
    ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType, ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{DISPLAY, SERVICE};

const DESCRIPTION: &str = "Puts signed, temporary mitigations on this server within seconds of their release, and takes \
    them off again when the fix is installed. What is in force stays in force while it is stopped.";

/// What its process keeps of the system account's privileges: to pass through folders, to act for a caller (which the
/// calls of IIS's own tool are), and to make names that other sessions see (the gateway's pipe). Files and services that it
/// changes let the system account in by their own lists.
pub const PRIVILEGES: [&str; 3] =
    ["SeChangeNotifyPrivilege", "SeImpersonatePrivilege", "SeCreateGlobalPrivilege"];

/// A cycle ends within this, whatever a server's reload takes; the shutdown waits for it.
const PRESHUTDOWN: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(150);
const START: Duration = Duration::from_secs(60);

/// System error codes (winerror.h).
const EXISTS: i32 = 1073;
const DOES_NOT_EXIST: i32 = 1060;
const NOT_ACTIVE: i32 = 1062;
const ALREADY_RUNNING: i32 = 1056;

fn plain(error: Error) -> io::Error {
    match error {
        Error::Winapi(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn manager(access: ServiceManagerAccess) -> io::Result<ServiceManager> {
    ServiceManager::local_computer(None::<&OsStr>, ServiceManagerAccess::CONNECT | access).map_err(plain)
}

/// The service; `None`: it is not registered.
fn open(access: ServiceAccess) -> io::Result<Option<Service>> {
    match manager(ServiceManagerAccess::empty())?.open_service(SERVICE, access).map_err(plain) {
        Err(error) if error.raw_os_error() == Some(DOES_NOT_EXIST) => Ok(None),
        service => service.map(Some),
    }
}

/// Registers the service, or brings its registration up to date. `arguments` come after the program's path. Returns what
/// this system could not be told.
pub fn register(program: &Path, arguments: &[OsString]) -> io::Result<Vec<String>> {
    let info = ServiceInfo {
        name: SERVICE.into(),
        display_name: DISPLAY.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: arguments.to_vec(),
        dependencies: Vec::new(),
        // The system's own account: it changes services, and files of IIS.
        account_name: None,
        account_password: None,
    };
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::QUERY_CONFIG | ServiceAccess::START;
    let service =
        match manager(ServiceManagerAccess::CREATE_SERVICE)?.create_service(&info, access).map_err(plain) {
            Err(error) if error.raw_os_error() == Some(EXISTS) => {
                let gone = || io::Error::other("it was removed in this moment: try again");
                let service = open(access)?.ok_or_else(gone)?;
                service.change_config(&info).map_err(plain)?;
                service
            }
            service => service?,
        };
    Ok(refine(&service))
}

/// What is said of a service after it was made. Each is better than nothing, none is needed to work.
fn refine(service: &Service) -> Vec<String> {
    let restart = |seconds| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(seconds),
    };
    let recovery = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(24 * 3600)),
        reboot_msg: None,
        command: None,
        actions: Some(vec![restart(5), restart(30), restart(300)]),
    };
    let told = [
        ("its description", service.set_description(DESCRIPTION).map_err(plain)),
        ("a delayed start", service.set_delayed_auto_start(true).map_err(plain)),
        ("recovery actions", service.update_failure_actions(recovery).map_err(plain)),
        (
            "recovery also after an error",
            service.set_failure_actions_on_non_crash_failures(true).map_err(plain),
        ),
        (
            "an identity of its own",
            service.set_config_service_sid_info(ServiceSidType::Unrestricted).map_err(plain),
        ),
        ("time at shutdown", service.set_preshutdown_timeout(PRESHUTDOWN).map_err(plain)),
        ("least privileges", stopgap_windows::set_privileges(service, &PRIVILEGES)),
    ];
    told.into_iter().filter_map(|(what, told)| Some(format!("{what}: {}", told.err()?))).collect()
}

/// Whether it is registered, and whether it runs.
pub fn state() -> io::Result<Option<ServiceState>> {
    let Some(service) = open(ServiceAccess::QUERY_STATUS)? else { return Ok(None) };
    Ok(Some(service.query_status().map_err(plain)?.current_state))
}

/// Starts it and waits until it runs.
pub fn start() -> io::Result<()> {
    let Some(service) = open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)? else {
        return Err(io::Error::from_raw_os_error(DOES_NOT_EXIST));
    };
    match service.start(&[] as &[&OsStr]).map_err(plain) {
        Err(error) if error.raw_os_error() == Some(ALREADY_RUNNING) => (),
        started => started?,
    }
    until(&service, START, |state| match state {
        ServiceState::Running => Some(Ok(())),
        ServiceState::Stopped => Some(Err(io::Error::other("it stopped again: its log says why"))),
        _ => None,
    })
}

/// Stops it and waits until it has stopped; `false`: it is not registered.
pub fn stop() -> io::Result<bool> {
    let Some(service) = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)? else { return Ok(false) };
    match service.stop().map_err(plain) {
        Err(error) if error.raw_os_error() == Some(NOT_ACTIVE) => (),
        stopped => {
            stopped?;
        }
    }
    until(&service, STOP, |state| (state == ServiceState::Stopped).then_some(Ok(())))?;
    Ok(true)
}

/// Takes it out of the book; `false`: it was not there. It is stopped before.
pub fn unregister() -> io::Result<bool> {
    if !stop()? {
        return Ok(false);
    }
    let Some(service) = open(ServiceAccess::DELETE)? else { return Ok(false) };
    service.delete().map_err(plain)?;
    Ok(true)
}

fn until(
    service: &Service,
    time: Duration,
    reached: impl Fn(ServiceState) -> Option<io::Result<()>>,
) -> io::Result<()> {
    let deadline = Instant::now() + time;
    loop {
        let state = service.query_status().map_err(plain)?.current_state;
        if let Some(done) = reached(state) {
            return done;
        }
        if Instant::now() >= deadline {
            let message = format!("{SERVICE} is {state:?} after {} s", time.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        sleep(Duration::from_millis(50));
    }
}
