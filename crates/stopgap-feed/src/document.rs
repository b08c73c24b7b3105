//! The grammar: what a feed document says, and how it is read.

mod model;

pub use model::*;
