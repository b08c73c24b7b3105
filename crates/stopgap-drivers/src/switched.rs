//! What targets have in common whose set is a record and whose change is switches: services and pools, taken out of
//! service and brought back. Which ones, in what order and how, is each driver's own matter. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use stopgap_core::observed::{Hook, Live, Observed, Site};
use stopgap_core::plan::{Placement, Rendered, Switch, Wanted};
use stopgap_core::proof::RefusalForm;

use crate::render;
use crate::set::record::RECORD;

/// A target whose one site is itself, with what rendering will ask of it (see [`seen`]).
pub(crate) fn observed(target: &str, live: Live, hook: Hook, key: &str, seen: &impl Serialize) -> Observed {
    let site = Site { name: target.to_owned(), hook, listeners: Vec::new() };
    let mut observed = Observed {
        target: target.to_owned(),
        live,
        sites: vec![site],
        warnings: Vec::new(),
        lacks: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    keep(&mut observed, key, seen);
    observed
}

/// Has `seen` stand under `key` for rendering, which only reads what was observed.
pub(crate) fn keep(observed: &mut Observed, key: &str, seen: &impl Serialize) {
    observed.files.insert(PathBuf::from(key), serde_json::to_vec(seen).map_err(|e| e.to_string()));
}

/// What [`keep`] put there.
pub(crate) fn seen<S: DeserializeOwned + Default>(observed: &Observed, key: &str) -> S {
    let octets = observed.files.get(Path::new(key)).and_then(|read| read.as_ref().ok());
    octets.and_then(|octets| serde_json::from_slice(octets).ok()).unwrap_or_default()
}

/// Where there is nothing that could be asked, or it did not answer: nothing is put on and nothing taken off.
pub(crate) fn hindered(wanted: &[Wanted], observed: &Observed, key: &str) -> Option<Rendered> {
    let missing = observed.sites.iter().find_map(|site| match &site.hook {
        Hook::Missing(why) => Some(why),
        Hook::Present => None,
    });
    let silent = observed.files.get(Path::new(key)).and_then(|read| read.as_ref().err());
    missing.or(silent).map(|why| Rendered {
        change: None,
        placements: Vec::new(),
        refused: wanted.iter().map(|one| (render::action_ref(one), why.clone())).collect(),
    })
}

/// See [`crate::Driver::render`]. `with`: a record with what one more action takes out of service, or why it does not;
/// `switches`: from what is to what the record says, and what there is to say about it.
pub(crate) fn render<'a, R: Default + Serialize>(
    (target, folder): (&str, &Path),
    wanted: impl IntoIterator<Item = &'a Wanted>,
    live: &Live,
    with: impl Fn(&R, &Wanted) -> Result<R, String>,
    switches: impl FnOnce(&R) -> (Vec<Switch>, Vec<String>),
) -> Rendered {
    let mut rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
    let (mut record, mut holds) = (R::default(), Vec::new());
    let here = |one: &&Wanted| one.sites.as_ref().is_none_or(|sites| !sites.is_empty());
    for wanted in wanted.into_iter().filter(here) {
        let what = render::action_ref(wanted);
        match with(&record, wanted) {
            Err(why) => rendered.refused.push((what, why)),
            Ok(with) => {
                record = with;
                let site = target.to_owned();
                rendered.placements.push(Placement { what, site: site.clone(), form: RefusalForm::Nothing });
                holds.push(render::hold(wanted, vec![site]));
            }
        }
    }
    let (switches, notes) = switches(&record);
    let text = serde_json::to_string_pretty(&record).unwrap_or_default() + "\n";
    let files = BTreeMap::from([(RECORD.to_owned(), text)]);
    let unused = !switches.is_empty();
    rendered.change = render::change(target, folder, live, unused, files, holds).map(|mut change| {
        change.switches = switches;
        change.notes = notes;
        change
    });
    rendered
}

/// From the entries of a record that are to those that are to be: what goes off, in order, then what comes back, in
/// reverse. `is_named`: whether an entry is of that name; `off`: the switch of one that is not off yet; `on`: of one that is
/// still ours. What is switched itself, or stays off, does not merely stop or start as well.
pub(crate) fn switches<E>(
    (before, after): (&[E], &[E]),
    is_named: impl Fn(&E, &str) -> bool,
    off: impl Fn(&E) -> Option<Switch>,
    on: impl Fn(&E) -> Option<Switch>,
) -> Vec<Switch> {
    let off_before = |name: &str| before.iter().any(|entry| is_named(entry, name));
    let off_after = |name: &str| after.iter().any(|entry| is_named(entry, name));
    let mut switches: Vec<Switch> = after.iter().filter_map(off).collect();
    switches.extend(before.iter().rev().filter_map(on).filter(|switch| !off_after(&switch.name)));
    for switch in &mut switches {
        let off = switch.off;
        switch.also.retain(|name| !off_after(name) && (off || !off_before(name)));
    }
    switches
}

/// `max`: `max_stopped` of the target; `what`: such as `service`.
pub(crate) fn not_too_many(what: &str, name: &str, number: usize, max: usize) -> Result<(), String> {
    match number > max {
        true => Err(format!(
            "{name} would be {what} number {number} out of service, and `max_stopped` of this target is {max}"
        )),
        false => Ok(()),
    }
}

/// What stops or starts beside what is switched itself.
pub(crate) fn company(switches: &[Switch]) -> Vec<String> {
    let with_others = switches.iter().filter(|switch| !switch.also.is_empty());
    let note = |switch: &Switch| {
        let verb = if switch.off { "stops" } else { "starts" };
        format!("{}: this also {verb} {}", switch.name, switch.also.join(", "))
    };
    with_others.map(note).collect()
}
