//! The disk after a power cut: what a machine does is recorded call by call, and every disk that it may leave is laid out.
//!
//! ```text
//!   Recorder (a Host over a FakeHost) -> Vec<Op>        what was changed, in order
//!   disks(start, ops, forget) -> trees                  what may be on the disk when the power goes, after each part of
//!                                                       each call
//! ```
//!
//! The model is a pessimistic journaling file system: [`disk`] has it. It knows names and octets; owners, permissions and
//! times are not in it. What the programs of the machine write themselves counts as on the disk.

mod disk;
mod record;

pub use disk::{BOUND, Tree, disks, disks_after, seen};
pub use record::{Op, Recorder};
