//! The version that runs beside the one that is installed: an update protects nobody whose process goes on
//! with the files from before.

use stopgap_feed::document::Product;

use super::known::Known;
use super::{Applicability, affected, words};
use crate::facts::{Fact, Old};

/// Whether something that runs is affected, where what is installed is not (`fixed`, a sentence). Nothing: it
/// is not.
pub(super) fn judge(product: &Product, known: &Known<'_>, fixed: &str) -> Option<Applicability> {
    let mut unknown = match known.kernel {
        Some(Fact::Version(version)) => match affected(product, version) {
            Ok(Some(range)) => {
                let why = format!(
                    "{fixed}, but the kernel that runs is {version}, {}: it ends with a restart of the server",
                    words(range)
                );
                return Some(Applicability::Holds(why));
            }
            Ok(None) => None,
            Err(error) => Some(format!("{fixed}, but of the kernel that runs: {error}")),
        },
        Some(Fact::Unknown(why)) => {
            Some(format!("{fixed}, but the version of the kernel that runs cannot be told: {why}"))
        }
        None => None,
    };
    let old: Vec<&Old> = known.running.iter().flat_map(|running| &running.old).collect();
    for process in &old {
        for version in &process.versions {
            match affected(product, version) {
                Ok(Some(range)) => {
                    let why = format!(
                        "{fixed}, but {} the files from before, {version}, which is {}: restart it",
                        named(process, old.len()),
                        words(range)
                    );
                    return Some(Applicability::Holds(why));
                }
                Ok(None) => {}
                Err(error) => {
                    unknown.get_or_insert(format!("{}: {error}", product.name));
                }
            }
        }
    }
    if let Some(process) = old.iter().find(|process| process.older) {
        unknown.get_or_insert(format!(
            "{fixed}, but {} the files from before, and of which version cannot be told: restart it",
            named(process, old.len())
        ));
    }
    let unread = known.running.iter().find_map(|running| running.unread.as_ref());
    if let Some(why) = unread {
        unknown
            .get_or_insert(format!("{fixed}, but whether something older still runs cannot be told: {why}"));
    }
    unknown.map(Applicability::Unknown)
}

/// `process 812 (nginx) and 3 more still run`.
fn named(process: &Old, all: usize) -> String {
    let one = format!("process {} ({})", process.pid, process.name);
    match all.saturating_sub(1) {
        0 => format!("{one} still runs"),
        more => format!("{one} and {more} more still run"),
    }
}
