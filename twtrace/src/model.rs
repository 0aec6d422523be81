//! Owns: what everybody speaks of: events, filters, limitations, clocks, and texts of strangers made harmless.
//! Must not know: where any of it comes from or goes to.

#[macro_use]
mod words;
pub(crate) use words::words;

pub mod address;
pub mod clock;
pub mod escape;
pub mod event;
pub mod figures;
pub mod filter;
pub mod identity;
pub mod limitation;
pub mod ordering;
pub mod pool;
pub mod ports;
pub mod settings;
