//! The service's process: what the service control manager asks of it, and what it is told.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use windows_service::Error;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};

use super::SERVICE;
use crate::events::Event;

/// What the service does until the receiver says `true`; an error is its end before that.
pub type Work = Box<dyn FnOnce(watch::Receiver<bool>) -> Result<(), String> + Send>;

/// ERROR_FAILED_SERVICE_CONTROLLER_CONNECT: this process was started by a person, or by a program.
const NOT_A_SERVICE: i32 = 1063;

/// While it stops, the control manager hears of it this often, and waits this long for the next word.
const WORD: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

static WORK: OnceLock<Mutex<Option<Work>>> = OnceLock::new();
static FAILED: OnceLock<String> = OnceLock::new();

/// Does `work` as the service, and returns when that has stopped; or gives `work` back where this process was not started
/// as a service.
pub fn as_service(work: Work) -> io::Result<Option<Work>> {
    let place = WORK.get_or_init(Mutex::default);
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    match stopgap_windows::start_dispatcher(SERVICE, main) {
        Ok(()) => match FAILED.get() {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(None),
        },
        Err(Error::Winapi(error)) if error.raw_os_error() == Some(NOT_A_SERVICE) => Ok(take()),
        Err(Error::Winapi(error)) => Err(error),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn take() -> Option<Work> {
    WORK.get()?.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The service, on the thread that the control manager's library gives it.
fn main() {
    if let Err(why) = serve() {
        let _ = FAILED.set(why);
    }
}

/// What the teller hears.
enum Heard {
    /// The service was asked to stop.
    Asked,
    /// It has.
    Done,
}

fn serve() -> Result<(), String> {
    let (stop, stopped) = watch::channel(false);
    let (say, hear) = mpsc::channel();
    let asked = say.clone();
    let status = service_control_handler::register(SERVICE, move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            stop.send_replace(true);
            // Nobody hears it once the service has ended by itself.
            let _ = asked.send(Heard::Asked);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    })
    .map_err(|error| error.to_string())?;
    tell(status, ServiceState::Running, 0, true);
    let teller = std::thread::spawn(move || say_that_it_stops(status, &hear));
    let done = match take() {
        Some(work) => work(stopped),
        None => Err("there is nothing to do".to_owned()),
    };
    if let Err(why) = &done {
        // Once it has said that it stopped, the control manager may end this process at once.
        Event::Failed { detail: format!("the service ended: {why}") }.log();
    }
    let _ = say.send(Heard::Done);
    // Its last word must not come after ours.
    let _ = teller.join();
    tell(status, ServiceState::Stopped, 0, done.is_ok());
    done
}

/// Says that it stops, from the moment when it was asked to until it has: a cycle that has begun is finished.
fn say_that_it_stops(status: ServiceStatusHandle, hear: &Receiver<Heard>) {
    let Ok(Heard::Asked) = hear.recv() else { return };
    for word in 1.. {
        tell(status, ServiceState::StopPending, word, true);
        match hear.recv_timeout(WORD) {
            Ok(Heard::Asked) | Err(RecvTimeoutError::Timeout) => (),
            Ok(Heard::Done) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn tell(handle: ServiceStatusHandle, state: ServiceState, checkpoint: u32, well: bool) {
    let runs = state == ServiceState::Running;
    let told = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: match runs {
            // At a shutdown it is told early, while servers still run, and has more time than a minute.
            true => ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN,
            false => ServiceControlAccept::empty(),
        },
        exit_code: if well { ServiceExitCode::NO_ERROR } else { ServiceExitCode::ServiceSpecific(1) },
        checkpoint,
        wait_hint: if state == ServiceState::StopPending { PATIENCE } else { Duration::ZERO },
        process_id: None,
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service control manager was not told of the state {state:?}");
    }
}
