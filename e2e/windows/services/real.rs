//! Services that run a test's own program, and end with the test.

use std::sync::mpsc;
use std::time::Duration;

use stopgap_core::plan::Wanted;
use stopgap_drivers::host::services::{Ask, Start, State};
use stopgap_drivers::{Host, Machine};
use stopgap_feed::document::{Action, ActionKind, Scope};
use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceDependency, ServiceErrorControl,
    ServiceExitCode, ServiceInfo, ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

/// What the services run. Behind it comes the service's own name, as one of a test to leave out.
const ARGUMENTS: [&str; 4] =
    ["services::is_a_service_where_it_was_started_as_one", "--exact", "--nocapture", "--skip"];

const TIME: Duration = Duration::from_secs(60);

/// Services of this test alone.
pub struct Services(Vec<String>);

impl Services {
    /// Each with the services that it needs.
    pub fn create(services: &[(&str, Start, &[&str])]) -> Services {
        let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        let manager = ServiceManager::local_computer(None::<&str>, access).unwrap();
        for (name, start, needs) in services {
            let info = ServiceInfo {
                name: name.into(),
                display_name: name.into(),
                service_type: ServiceType::OWN_PROCESS,
                start_type: match start {
                    Start::Manual => ServiceStartType::OnDemand,
                    _ => ServiceStartType::AutoStart,
                },
                error_control: ServiceErrorControl::Normal,
                executable_path: std::env::current_exe().unwrap(),
                launch_arguments: ARGUMENTS.iter().chain([name]).map(Into::into).collect(),
                dependencies: needs.iter().map(|name| ServiceDependency::Service(name.into())).collect(),
                account_name: None,
                account_password: None,
            };
            let service = manager.create_service(&info, ServiceAccess::CHANGE_CONFIG).unwrap();
            // Wine knows no delayed start: the driver then sees, and restores, an automatic one.
            if *start == Start::Delayed && service.set_delayed_auto_start(true).is_err() {
                println!("this system has no delayed start");
            }
        }
        Services(services.iter().map(|(name, ..)| (*name).to_owned()).collect())
    }

    pub fn start(&self, name: &str) {
        Machine.services(&Ask::Start(name), TIME).unwrap();
    }

    pub fn set_start(&self, name: &str, start: Start) {
        Machine.services(&Ask::SetStart(name, start), TIME).unwrap();
    }

    /// What they are now.
    pub fn look(&self) -> Vec<(String, Start, State)> {
        let shown = Machine.services(&Ask::Show(&self.0), TIME).unwrap();
        shown.into_iter().map(|one| (one.name, one.start, one.state)).collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).unwrap();
        // What needs another one first.
        for name in self.0.iter().rev() {
            let _ = Machine.services(&Ask::Stop(name), TIME);
            if let Ok(service) = manager.open_service(name, ServiceAccess::DELETE) {
                let _ = service.delete();
            }
        }
    }
}

/// Is a service until it is asked to stop, where a name was given. The control manager of Wine is not asked otherwise:
/// there such a question waits for half a minute.
pub fn run_as_service() {
    if let Some(name) = name() {
        stopgap_windows::start_dispatcher(&name, serve).unwrap();
    }
}

/// What [`Services::create`] put behind the other arguments.
fn name() -> Option<String> {
    std::env::args().skip_while(|argument| argument != "--skip").nth(1)
}

fn serve() {
    let (say, hear) = mpsc::channel();
    let handle = service_control_handler::register(name().unwrap(), move |control| match control {
        ServiceControl::Stop => {
            let _ = say.send(());
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    })
    .unwrap();
    let tell = |state, accepted| {
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: accepted,
            exit_code: ServiceExitCode::NO_ERROR,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            process_id: None,
        };
        handle.set_service_status(status).unwrap();
    };
    tell(ServiceState::Running, ServiceControlAccept::STOP);
    hear.recv().unwrap();
    tell(ServiceState::Stopped, ServiceControlAccept::empty());
}

/// An action that stops the first of these services.
pub fn wanted(action: &str, names: &[&str]) -> Wanted {
    Wanted {
        observe: false,
        key: format!("example:{}", action.split('.').next().unwrap()).parse().unwrap(),
        digest: "0".repeat(64),
        action: Action {
            id: action.parse().unwrap(),
            description: String::new(),
            scope: Scope::Server,
            target: None,
            platform: None,
            kind: ActionKind::Service { names: names.iter().map(|name| (*name).to_owned()).collect() },
        },
        probes: Vec::new(),
        sites: None,
    }
}
