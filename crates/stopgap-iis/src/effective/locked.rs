//! Whether a section can stand where it stands: its declaration, and what the files above say of it.

use std::collections::BTreeMap;

use crate::section::{Declaration, Definition, OverrideMode, Section};
use crate::server::Server;
use crate::tree::{depth, folded};
use crate::violation::{Code, Fault};

use super::Step;

/// Why the section counts for nothing there; nothing where it can stand.
pub(super) fn refused(
    server: &Server,
    declared: &BTreeMap<Section, Declaration>,
    step: &Step,
    all: &[Step],
) -> Option<Fault> {
    let section = step.entry.section;
    let name = section.name();
    let fault = |code, message: String| Some(Fault::new(code, step.entry.place, message).key(name));
    let Some(declaration) = declared.get(&section) else {
        return fault(
            Code::NotDeclared,
            format!("applicationHost.config declares no section rewrite/{name}"),
        );
    };
    let in_host = step.order == 0;
    let in_application = server
        .application(step.base)
        .is_some_and(|application| folded(&application.path) == folded(step.base));
    let allowed = match declaration.definition {
        Definition::Everywhere => None,
        Definition::AppHostOnly if in_host && step.at.is_empty() => None,
        Definition::AppHostOnly => Some("in applicationHost.config alone, for the whole server"),
        Definition::MachineToApplication if in_host || in_application => None,
        Definition::MachineToApplication => Some("in the files of applications and above alone"),
        Definition::MachineOnly => Some("in .NET's own files alone"),
    };
    if let Some(allowed) = allowed {
        return fault(Code::WrongLevel, format!("<{name}> can stand {allowed}"));
    }
    if !declaration.location && step.entry.in_location {
        return fault(Code::WrongLevel, format!("<{name}> cannot stand in a <location>"));
    }
    // Whatever the declaration says: the module reads them for the server alone.
    if section == Section::GlobalRules && !step.at.is_empty() {
        let message = format!("<globalRules> for \"{}\"; they can stand for the whole server alone", step.at);
        return fault(Code::WrongLevel, message);
    }
    let (mode, by) = mode(declaration, step, all);
    if mode == OverrideMode::Deny {
        let by = by.unwrap_or_else(|| "its declaration (overrideModeDefault)".to_owned());
        return fault(Code::SectionLocked, format!("<{name}> is locked by {by}"));
    }
    None
}

/// What the files above the section's own say, the outer ones first, in each the outer levels first. A file
/// locks nothing for itself.
fn mode(declaration: &Declaration, step: &Step, all: &[Step]) -> (OverrideMode, Option<String>) {
    if step.order == 0 {
        return (OverrideMode::Allow, None);
    }
    let mut above: Vec<&Step> = all
        .iter()
        .filter(|other| other.entry.section == step.entry.section && other.order < step.order)
        .filter(|other| {
            !other.entry.twice
                && depth(&other.at) <= depth(&step.at)
                && other.entry.mode != OverrideMode::Inherit
        })
        .collect();
    above.sort_by_key(|other| (other.order, depth(&other.at)));
    let mut said = (declaration.overridden, None);
    for other in above {
        said = (other.entry.mode, Some(format!("{}, line {}", other.file, other.entry.place.line)));
    }
    said
}
