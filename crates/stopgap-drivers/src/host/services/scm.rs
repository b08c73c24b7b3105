//! The service control manager of this machine.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use windows_registry::LOCAL_MACHINE;
use windows_service::service::{
    self, ServiceAccess, ServiceControlAccept, ServiceStartType, ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::{Ask, Service, Start, State};

const SERVICES: &str = "SYSTEM\\CurrentControlSet\\Services";
/// A server has some hundreds, with drivers.
const SERVICES_MAX: usize = 20_000;
/// How often the state that is waited for is looked for.
const POLL: Duration = Duration::from_millis(25);

/// System error codes (winerror.h).
const DOES_NOT_EXIST: i32 = 1060;
const CANNOT_ACCEPT_CONTROL: i32 = 1061;
const NOT_ACTIVE: i32 = 1062;
const ALREADY_RUNNING: i32 = 1056;

pub(super) fn ask(ask: &Ask<'_>, time: Duration) -> io::Result<Vec<Service>> {
    let manager =
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(plain)?;
    let open = |name: &str, access| manager.open_service(name, access).map_err(plain);
    let deadline = Instant::now() + time;
    match *ask {
        Ask::Show(names) => {
            let needing = needing()?;
            let mut shown: Vec<Service> = Vec::new();
            for name in names {
                let service = match open(name, ServiceAccess::QUERY_CONFIG | ServiceAccess::QUERY_STATUS) {
                    Err(error) if error.raw_os_error() == Some(DOES_NOT_EXIST) => continue,
                    service => service?,
                };
                if !shown.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
                    shown.push(show(&service, name, &needing)?);
                }
            }
            return Ok(shown);
        }
        Ask::Start(name) => {
            start(&open(name, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?, deadline)?;
        }
        Ask::Stop(name) => stop(&open(name, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?, deadline)?,
        Ask::SetStart(name, start) => set_start(&open(name, ServiceAccess::CHANGE_CONFIG)?, start)?,
    }
    Ok(Vec::new())
}

/// The system's own error, with its code.
fn plain(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn show(
    service: &service::Service,
    name: &str,
    needing: &BTreeMap<String, Vec<String>>,
) -> io::Result<Service> {
    let (config, status) = (service.query_config().map_err(plain)?, service.query_status().map_err(plain)?);
    let key = LOCAL_MACHINE.open(format!("{SERVICES}\\{name}"));
    let delayed = key.and_then(|key| key.get_u32("DelayedAutostart")).is_ok_and(|value| value != 0);
    Ok(Service {
        name: name.to_owned(),
        display: config.display_name.to_string_lossy().into_owned(),
        start: match config.start_type {
            ServiceStartType::AutoStart if delayed => Start::Delayed,
            ServiceStartType::AutoStart => Start::Automatic,
            ServiceStartType::OnDemand => Start::Manual,
            ServiceStartType::Disabled => Start::Disabled,
            ServiceStartType::SystemStart => Start::System,
            ServiceStartType::BootStart => Start::Boot,
        },
        state: state(status.current_state),
        stoppable: status.controls_accepted.contains(ServiceControlAccept::STOP),
        process: config.service_type.intersects(ServiceType::OWN_PROCESS | ServiceType::SHARE_PROCESS),
        dependents: needing.get(&name.to_lowercase()).cloned().unwrap_or_default(),
    })
}

fn state(state: ServiceState) -> State {
    match state {
        ServiceState::Stopped => State::Stopped,
        ServiceState::StartPending => State::Starting,
        ServiceState::StopPending => State::Stopping,
        ServiceState::Running => State::Running,
        ServiceState::ContinuePending => State::Resuming,
        ServiceState::PausePending => State::Pausing,
        ServiceState::Paused => State::Paused,
    }
}

/// Who names whom as needed, by the lowercase name of the one that is needed: the control manager's own book. It shows the
/// dependents of a service only to who may read each of them, and only from this book.
fn needing() -> io::Result<BTreeMap<String, Vec<String>>> {
    let failed = |error: windows_registry::Result<()>| match error {
        Err(error) => io::Error::other(format!("HKLM\\{SERVICES}: {}", error.message())),
        Ok(()) => io::Error::other("the registry"),
    };
    let services = LOCAL_MACHINE.open(SERVICES).map_err(|error| failed(Err(error)))?;
    let mut needing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in services.keys().map_err(|error| failed(Err(error)))?.take(SERVICES_MAX) {
        // One that cannot be read is none that could be started.
        let Ok(needs) = services.open(&name).and_then(|key| key.get_multi_string("DependOnService")) else {
            continue;
        };
        let distinct: HashSet<String> = needs.iter().map(|needed| needed.to_lowercase()).collect();
        for needed in distinct.into_iter().filter(|needed| !needed.is_empty()) {
            needing.entry(needed).or_default().push(name.clone());
        }
    }
    needing.values_mut().for_each(|names| names.sort());
    Ok(needing)
}

fn start(service: &service::Service, deadline: Instant) -> io::Result<()> {
    match service.start(&[] as &[&OsStr]).map_err(plain) {
        Err(error) if error.raw_os_error() == Some(ALREADY_RUNNING) => (),
        started => started?,
    }
    loop {
        let status = service.query_status().map_err(plain)?;
        match status.current_state {
            ServiceState::Running => return Ok(()),
            ServiceState::Stopped => {
                return Err(io::Error::other(format!("it stopped again: {:?}", status.exit_code)));
            }
            _ => wait(deadline, "does not run", state(status.current_state))?,
        }
    }
}

fn stop(service: &service::Service, deadline: Instant) -> io::Result<()> {
    loop {
        let status = service.query_status().map_err(plain)?;
        match status.current_state {
            ServiceState::Stopped => return Ok(()),
            ServiceState::Running | ServiceState::Paused => match service.stop().map_err(plain) {
                Err(error) if error.raw_os_error() == Some(NOT_ACTIVE) => (),
                // It is on its way from one state to another.
                Err(error) if error.raw_os_error() == Some(CANNOT_ACCEPT_CONTROL) => (),
                stopped => {
                    stopped?;
                }
            },
            _ => (),
        }
        wait(deadline, "has not stopped", state(status.current_state))?;
    }
}

fn wait(deadline: Instant, what: &str, state: State) -> io::Result<()> {
    if Instant::now() >= deadline {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it {what} in time: it is {state}")));
    }
    sleep(POLL);
    Ok(())
}

fn set_start(service: &service::Service, start: Start) -> io::Result<()> {
    let raw = match start {
        Start::Automatic | Start::Delayed => ServiceStartType::AutoStart,
        Start::Manual => ServiceStartType::OnDemand,
        Start::Disabled => ServiceStartType::Disabled,
        Start::Boot | Start::System => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a driver's start is left alone"));
        }
    };
    stopgap_windows::set_start_type(service, raw.to_raw())?;
    // Only of one that starts automatically; the others keep what stands there, and so does ours while it is disabled.
    match start {
        Start::Delayed => service.set_delayed_auto_start(true).map_err(plain),
        _ => Ok(()),
    }
}
