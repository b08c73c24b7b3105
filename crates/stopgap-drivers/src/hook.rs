//! The hook: what makes a server read our rules. The operator places it; what is the same for every server
//! whose hook stands in its own files is here, what the lines say is each driver's.

pub(crate) mod edit;
mod glob;
pub(crate) mod markers;

use crate::driver::DriverError;
use crate::host::Host;

pub use edit::Edit;
pub(crate) use glob::glob;
pub use markers::{insert, remove};

/// A server whose hook stands in the operator's files.
pub trait Hooked {
    /// What the operator places: where it goes, and the lines.
    fn hook_lines(&self) -> Vec<(String, String)>;

    /// The edits that place the hook where it lacks. Nothing is changed.
    fn hook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError>;

    /// The edits that cut the hook out again, to the byte.
    fn unhook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError>;

    /// Makes the edits and has the server test the result; where it is rejected, every file is put back.
    fn edit(&self, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError>;

    /// What is left to do for the operator once the hook is placed.
    fn after_insert(&self) -> Option<&'static str> {
        None
    }
}
