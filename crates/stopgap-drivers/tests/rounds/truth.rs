//! What a plan prints is what differs in the files after it, on real servers: in made-up situations, the steps of a
//! change beside every file and link of the server's configuration and of ours, before and after.
//!
//! The same over whole cycles of the agent, on a gateway that is made up: `crates/stopgap-agent/tests/cycle/truth.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stopgap_core::plan::{Change, MANIFEST, Step, StepKind, Wanted};
use stopgap_drivers::{Checked, DriverError, Machine};

use crate::common::mitigation;
use crate::common::server::is_here;
use crate::dice::Dice;
use crate::server::{Kind, Server};
use crate::{common, origin, setting};

/// Changes of each server with every run of the tests; `STOPGAP_TRUTH_CHANGES` makes more of them.
const CHANGES: usize = 20;

/// What every server takes some of.
const CATALOGUE: [&str; 7] = ["M1", "LOG1", "DRILL1", "RC1", "WP1", "AP1", "OIDC1"];

/// Files with their octets, and links with what they say.
type Files = BTreeMap<PathBuf, Vec<u8>>;

#[test]
fn what_a_plan_prints_is_what_differs_on_nginx() {
    truth(Kind::Nginx, "what_a_plan_prints_is_what_differs_on_nginx");
}

#[test]
fn what_a_plan_prints_is_what_differs_on_apache() {
    truth(Kind::Apache, "what_a_plan_prints_is_what_differs_on_apache");
}

#[test]
fn what_a_plan_prints_is_what_differs_on_haproxy() {
    truth(Kind::HaproxySocket, "what_a_plan_prints_is_what_differs_on_haproxy");
}

fn truth(kind: Kind, test: &str) {
    if !is_here(kind.binary(), test) {
        return;
    }
    let _turn = crate::turn();
    let server = Server::start(kind, origin::start().0);
    let (mut dice, mut wanted) = (Dice::new(7), Vec::new());
    let (mut made, mut reverted, mut calm) = (0, 0, 0);
    while made + reverted < setting("STOPGAP_TRUTH_CHANGES", CHANGES) {
        let happened = happen(&server, &mut dice, &mut wanted);
        let place = format!("{kind:?}, situation {}: {happened}", made + reverted + calm + 1);
        let before = files(&server);
        let Some(change) = plan(&server, &wanted) else {
            calm += 1;
            continue;
        };
        assert_eq!(files(&server), before, "{place}: a plan changes nothing");
        let read = server.reads();
        if dice.roll(4) == 0 {
            carry_out(&server, &change, &before, &place);
            match server.driver.revert(&Machine, &change) {
                // What somebody broke is broken again, and told.
                Err(DriverError::NotTaken { .. }) if read.is_none() && kind == Kind::Nginx => (),
                done => done.unwrap_or_else(|e| panic!("{place}: {e}")),
            }
            let (after, before) = (files(&server), without_orphans(&server, before));
            assert_eq!(after, before, "{place}: a revert brings back what was");
            reverted += 1;
        } else {
            carry_out(&server, &change, &before, &place);
            server.driver.settle(&Machine, &change).unwrap();
            compare(&change.steps(), &before, &files(&server), &place);
            if let (Some(before), Some(after)) = (read, server.reads()) {
                reads(&change, &before, &after, &place);
            }
            assert_eq!(plan(&server, &wanted), None, "{place}: nothing is left to do");
            made += 1;
        }
    }
    println!("{kind:?}: {made} plans and what they did, {reverted} reverted, {calm} times nothing to do");
    assert!(made > reverted && reverted > 0, "{made}, {reverted}");
}

fn plan(server: &Server, wanted: &[Wanted]) -> Option<Change> {
    server.driver.render(wanted, &server.driver.observe(&Machine).unwrap()).change
}

fn carry_out(server: &Server, change: &Change, before: &Files, place: &str) {
    let checked = server.driver.check(&Machine, change).unwrap();
    assert!(matches!(checked, Checked::Staged | Checked::SwappedAndRestored));
    assert_eq!(files(server), *before, "{place}: a test leaves nothing");
    server.driver.apply(&Machine, change).unwrap_or_else(|e| panic!("{place}: {e}: {}", server.log()));
}

/// Something happens: other mitigations are wanted, or somebody has a hand in the files. What, in words.
fn happen(server: &Server, dice: &mut Dice, wanted: &mut Vec<Wanted>) -> String {
    let live = server.live();
    // The empty files that HAProxy needs while there is no set are part of its hook: without them its configuration is
    // broken, which is told and not repaired.
    let set = fs::read_link(&live).ok().filter(|to| to.starts_with("sets")).map(|to| live.with_file_name(to));
    let entries = set.and_then(|set| fs::read_dir(set).ok()).into_iter().flatten().flatten();
    let file = entries.map(|entry| entry.path()).min();
    match (dice.roll(9), file) {
        (0, Some(file)) => {
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text + "# by hand\n").unwrap();
            format!("{} is edited", file.display())
        }
        (1, Some(file)) => {
            fs::remove_file(&file).unwrap();
            format!("{} is removed", file.display())
        }
        // HAProxy does not start without what its hook names.
        (2, Some(_)) if !server.needs_live() => {
            fs::remove_file(&live).unwrap();
            "the link to the live set is removed".to_owned()
        }
        (3, _) => {
            fs::create_dir_all(live.parent().unwrap()).unwrap();
            fs::write(live.with_file_name("notes"), format!("{}", dice.roll(100))).unwrap();
            "somebody puts a file beside ours".to_owned()
        }
        (4, _) => {
            let text = fs::read_to_string(server.config()).unwrap();
            fs::write(server.config(), format!("# {}\n{text}", dice.roll(100))).unwrap();
            "the operator edits the server's configuration".to_owned()
        }
        (5, _) => {
            wanted.clear();
            "nothing is wanted".to_owned()
        }
        _ => {
            let some: Vec<&str> = CATALOGUE.into_iter().filter(|_| dice.roll(3) == 0).collect();
            *wanted = some.iter().flat_map(|id| mitigation(id)).collect();
            format!("wanted is {some:?}")
        }
    }
}

fn files(server: &Server) -> Files {
    let mut files = common::files(server.folder.path());
    // What the server writes.
    files.retain(|path, _| !path.starts_with(server.folder.path().join("run")));
    files
}

/// Without a set whose link somebody removed by hand: nothing reads it, no change knows it as its own, and it goes with
/// the next one, whatever becomes of that. What was moved aside for its editor stays.
fn without_orphans(server: &Server, mut files: Files) -> Files {
    let sets = server.live().with_file_name("sets");
    if !files.contains_key(&server.live()) {
        files.retain(|path, _| !path.starts_with(&sets) || path.to_string_lossy().contains(".edited-"));
    }
    files
}

/// Whether a step says that this path changes.
fn says(step: &Step, path: &Path) -> bool {
    match step.kind {
        StepKind::Write | StepKind::Swap => Path::new(&step.path) == path,
        StepKind::Remove => path.starts_with(&step.path),
        _ => false,
    }
}

fn compare(steps: &[Step], before: &Files, after: &Files, place: &str) {
    let live =
        steps.iter().find(|step| matches!(step.kind, StepKind::Swap)).map(|step| Path::new(&step.path));
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        // A set whose link somebody removed by hand goes with the next change; no change knows it as its own.
        let orphan = live.is_none_or(|live| !before.contains_key(live)) && !after.contains_key(path);
        // What somebody edited is put aside, and kept until the next change.
        let aside = path.to_string_lossy().contains(".edited-");
        let said = steps.iter().any(|step| says(step, path));
        assert!(said || orphan || aside, "{place}: nobody said that {} changes: {steps:#?}", path.display());
    }
    for step in steps {
        let path = Path::new(&step.path);
        match step.kind {
            StepKind::Write => {
                let octets = after.get(path).map(Vec::len);
                let said = octets.map(|octets| format!("{octets} bytes"));
                assert_eq!(Some(&step.detail), said.as_ref(), "{place}: {step:?}");
            }
            StepKind::Swap => {
                let to = after.get(path).map(|to| path.with_file_name(String::from_utf8_lossy(to).as_ref()));
                let to = to.unwrap_or_else(|| panic!("{place}: {step:?} was not done"));
                assert!(step.detail.starts_with(&format!("to {} ", to.display())), "{place}: {step:?}");
            }
            StepKind::Remove => {
                let left = after.keys().find(|left| left.starts_with(path));
                assert_eq!(left, None, "{place}: {step:?}");
            }
            _ => {}
        }
    }
}

/// What the server says that it reads differs by the files of the plan, and holds their octets.
fn reads(change: &Change, before: &Files, after: &Files, place: &str) {
    let live = change.folder.join("live");
    for (path, text) in after.iter().filter(|(path, text)| before.get(*path) != Some(text)) {
        let planned = change.after.as_ref().and_then(|set| set.files.get(path.file_name()?.to_str()?));
        assert_eq!(path.parent(), Some(live.as_path()), "{place}: it reads {} anew", path.display());
        assert_eq!(Some(text.as_slice()), planned.map(|text| text.trim_end().as_bytes()), "{place}");
    }
    let gone = before.keys().find(|path| !after.contains_key(*path));
    let ours = |path: &PathBuf| path.parent() == Some(live.as_path());
    assert!(gone.is_none_or(|path| ours(path) && change.after.is_none()), "{place}: {gone:?}");
    if let (false, Some(set)) = (after.is_empty(), &change.after) {
        let missing =
            set.files.keys().find(|name| *name != MANIFEST && !after.contains_key(&live.join(name)));
        assert_eq!(missing, None, "{place}: it does not read it");
    }
}

impl Server {
    /// What it says that it reads, file by file. nginx alone tells, and not where somebody took a file of ours away
    /// that another needs.
    fn reads(&self) -> Option<Files> {
        if self.kind() != Kind::Nginx {
            return None;
        }
        let said = Command::new(Kind::Nginx.binary()).args(["-T", "-q", "-c"]).arg(self.config()).output();
        let said = said.unwrap();
        if !said.status.success() {
            return None;
        }
        let text = String::from_utf8(said.stdout).unwrap();
        let files = text.split("# configuration file ").skip(1).map(|file| {
            let (path, text) = file.split_once(":\n").unwrap();
            (PathBuf::from(path), text.trim_end().as_bytes().to_vec())
        });
        Some(files.collect())
    }
}
