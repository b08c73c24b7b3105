//! In which order files are written, so that nothing breaks in between: IIS reads each of them when it is written, and
//! a rule that goes from one file to another is in both for a moment, or in neither.

use stopgap_core::observed::Observed;
use stopgap_core::plan::FileEdit;
use stopgap_iis::{Environment, check};

use super::super::tree::{Snapshot, windows};
use super::super::{Settings, added};
use super::cannot;

/// Each next file is one of the rest, and each is judged by a look at the whole server. Mitigations change a handful.
const FILES_MAX: usize = 12;

/// The edits in an order in which no file that is written before the others brings a fault; where there is none, as
/// they are. `after` is the server with all of them made.
pub(super) fn safe(
    settings: &Settings,
    observed: &Observed,
    after: &Snapshot,
    mut edits: Vec<FileEdit>,
) -> Result<Vec<FileEdit>, String> {
    if !(2..=FILES_MAX).contains(&edits.len()) {
        return Ok(edits);
    }
    let environment = Environment::windows();
    let before = check(&Snapshot::of(&settings.root, &observed.files), &environment).map_err(cannot)?;
    let mut ordered: Vec<FileEdit> = Vec::with_capacity(edits.len());
    // What remains alone comes last in any case.
    while edits.len() > 1 {
        let mut next = None;
        for (nth, edit) in edits.iter().enumerate() {
            let mut between = Snapshot::of(&settings.root, &observed.files);
            let made = ordered.iter().chain([edit]).filter_map(|made| windows(&settings.root, &made.path));
            for path in made {
                between.change(&path, after.octets(&path).unwrap_or_default().to_vec());
            }
            if added(&before, check(&between, &environment).map_err(cannot)?).is_none() {
                next = Some(nth);
                break;
            }
        }
        ordered.push(edits.remove(next.unwrap_or(0)));
    }
    ordered.append(&mut edits);
    Ok(ordered)
}
