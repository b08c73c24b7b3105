//! Where a server is after its agent has seen to it, and whether everything that tells of it agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stopgap_agent::cycle::Mode;
use stopgap_agent::home::Home;
use stopgap_agent::journal::Journal;
use stopgap_core::observed::Hold;
use stopgap_core::plan::sha256_hex;
use stopgap_testkit::host::Node;

use crate::machines::Kind;
use crate::world::{DATA, World};

/// Each thing that can be told of a server, with what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached(BTreeMap<String, String>);

/// What differs from one moment to the other.
const BOOKS: [&str; 3] = ["ledger.json", "journal.jsonl", "example.json"];

impl Reached {
    /// Of what the world is now; or what does not agree.
    pub fn of(world: &World) -> Result<Reached, String> {
        let say = |error: &dyn std::error::Error| error.to_string();
        let (host, name) = (&world.host, world.kind.name());
        let report = world.cycle(host, Mode::Plan).map_err(|e| say(&e))?.report;
        if report.steps.as_ref().is_none_or(|steps| !steps.is_empty()) {
            return Err(format!("something is left to do: {:?}", report.steps));
        }
        let home = Home::at(Path::new(DATA));
        let ledger = home.ledger(host).map_err(|e| say(&e))?;
        let left = ledger.targets.get(name).cloned().unwrap_or_default();
        let manifest = host.peek(format!("{DATA}/{name}/live/manifest.json"));
        let on_disk: Vec<Hold> =
            manifest.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
        if left.holds != on_disk || left.undone || left.given_up.is_some() {
            return Err(format!("the ledger says {left:?}, the live set {on_disk:?}"));
        }
        let rules = world.kind.rules(&host.tree("/"));
        if world.kind == Kind::Iis {
            // It watches its files.
            world.memory.lock().unwrap().clone_from(&rules);
        }
        let (memory, disk) = (world.memory.lock().unwrap().clone(), rules.clone());
        if memory != disk {
            return Err(format!("the server goes by {memory}, its disk says {disk}"));
        }
        let mut files = host.tree("/");
        files.retain(|path, _| !["/proc", "/run"].iter().any(|gone| path.starts_with(gone)));
        let open = Journal::new(&home, host).pending().map_err(|e| say(&e))?;
        let mut reached = BTreeMap::from([("open changes".to_owned(), open.len().to_string())]);
        for path in ["/m1", "/m2", "/"] {
            reached.insert(format!("refuses {path}"), world.kind.refuses(&world.memory, path).to_string());
        }
        for one in &report.mitigations {
            let status = format!("{:?}, in force: {}", one.status, one.in_force);
            reached.insert(format!("status of {}", one.id), status);
        }
        for key in ledger.mitigations.keys() {
            reached.insert(format!("the ledger has {key}"), String::new());
        }
        for hold in left.holds {
            reached.insert(format!("left there: {}", hold.action), hold.digest);
        }
        // What was on its way out of the sets when the power went; nothing points there, and the next change removes it.
        files.retain(|path, _| !path.starts_with(format!("{DATA}/{name}/sets/.new")));
        let book = |path: &Path| BOOKS.iter().any(|book| path.ends_with(book));
        // A file that was on its way to its name when the agent died; the next one that goes there removes it.
        let on_its_way =
            |path: &Path| path.starts_with(DATA) && path.to_string_lossy().ends_with(".stopgap-new");
        let trouble = |path: &Path| path.to_string_lossy().ends_with(".trouble.json");
        for (path, node) in files.into_iter().filter(|(path, _)| !on_its_way(path) && !trouble(path)) {
            let node = match node {
                _ if book(&path) => "a book".to_owned(),
                Node::File(octets) => sha256_hex(&octets),
                other => format!("{other:?}"),
            };
            reached.insert(path.display().to_string(), node);
        }
        Ok(Reached(reached))
    }

    /// After an interruption: the agent starts anew and does its work.
    pub fn after(world: &mut World) -> Result<Reached, String> {
        // A change that is tried again comes after the one that was put back.
        for _ in 0..2 {
            world.wait();
            world.cycle(&world.host, Mode::Apply).map_err(|error| error.to_string())?;
        }
        Reached::of(world)
    }

    /// A baseline that could not be seen cannot prove anything later.
    pub fn forgiving(mut self) -> Reached {
        for status in self.0.values_mut() {
            *status = status.replace("Unproven", "Applied");
        }
        self
    }

    /// What is not as in `expected`.
    pub fn compare(&self, expected: &Reached) -> Result<(), String> {
        let names: BTreeSet<&String> = self.0.keys().chain(expected.0.keys()).collect();
        let differ = names.into_iter().filter(|name| self.0.get(*name) != expected.0.get(*name));
        let words = |name: &String| {
            format!("{name}: expected {:?}, found {:?}", expected.0.get(name), self.0.get(name))
        };
        let differ: Vec<String> = differ.map(words).collect();
        if differ.is_empty() { Ok(()) } else { Err(differ.join("\n")) }
    }
}
