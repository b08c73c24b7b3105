//! A service control manager of a test's: its book of services, and what it does with orders.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use stopgap_core::plan::Wanted;
use stopgap_drivers::host::services::{Ask, Service, Start, State};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_testkit::host::FakeHost;

/// By name.
pub type Book = Arc<Mutex<BTreeMap<String, Service>>>;

pub fn service(name: &str, start: Start, state: State, dependents: &[&str]) -> Service {
    Service {
        name: name.to_owned(),
        display: format!("The service {name}"),
        start,
        state,
        stoppable: state == State::Running,
        process: true,
        dependents: dependents.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A machine whose control manager works on these.
pub fn machine(services: &[Service]) -> (FakeHost, Book) {
    let book: Book =
        Arc::new(Mutex::new(services.iter().map(|one| (one.name.clone(), one.clone())).collect()));
    let known = book.clone();
    let host = FakeHost::new().on_services(move |ask| answer(&mut known.lock().unwrap(), ask));
    host.put("/data/ledger", "");
    (host, book)
}

fn answer(book: &mut BTreeMap<String, Service>, ask: &Ask<'_>) -> io::Result<Vec<Service>> {
    let key = |book: &BTreeMap<String, Service>, name: &str| {
        book.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned()
    };
    let no = |code: i32| Err(io::Error::from_raw_os_error(code));
    match *ask {
        Ask::Show(names) => {
            let found = names.iter().filter_map(|name| key(book, name)).map(|name| book[&name].clone());
            return Ok(found.collect());
        }
        Ask::Stop(name) => {
            let name = key(book, name).unwrap();
            if book[&name].dependents.iter().any(|name| book[name].state.runs()) {
                // ERROR_DEPENDENT_SERVICES_RUNNING
                return no(1051);
            }
            book.get_mut(&name).unwrap().state = State::Stopped;
        }
        Ask::Start(name) => {
            let name = key(book, name).unwrap();
            let needed: Vec<&Service> = book.values().filter(|one| one.dependents.contains(&name)).collect();
            if book[&name].start == Start::Disabled && !book[&name].state.runs() {
                // ERROR_SERVICE_DISABLED
                return no(1058);
            }
            if needed.iter().any(|one| one.start == Start::Disabled && !one.state.runs()) {
                // ERROR_SERVICE_DEPENDENCY_FAIL
                return no(1068);
            }
            let needed: Vec<String> = needed.into_iter().map(|one| one.name.clone()).collect();
            for name in needed.iter().chain([&name]) {
                book.get_mut(name).unwrap().state = State::Running;
            }
        }
        Ask::SetStart(name, start) => {
            let name = key(book, name).unwrap();
            book.get_mut(&name).unwrap().start = start;
        }
    }
    Ok(Vec::new())
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
