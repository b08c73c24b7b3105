//! The feeds of this server, as an operator deals with them: first trust, what is known of each, the walk
//! with a USB stick, and the end of it.
//!
//! ```text
//!   card ──► add ──► feeds.d/NAME.toml, feeds.d/NAME.trust.toml ──► config ──► cycle
//!                                                                     │
//!                        list, released, view, connectivity ◄─────────┤
//!                        carry (import, export), remove ◄─────────────┘
//! ```
//!
//! Whatever is read here is judged where a cycle judges it (`trust`), and whatever is changed on this
//! server is changed by a cycle. Not in here: asking people, and printing.

pub mod add;
pub mod carry;
pub mod connectivity;
pub mod drop_in;
pub mod list;
pub mod released;
pub mod remove;
pub mod view;
