//! Owns: where events come from: a trace of the running kernel or a recording, one after the other, and the answers to other processes.
//! Must not know: how anything is shown.

pub mod inquiry;
pub mod replay;
pub mod session;
mod view;

pub use view::{Flow, Health, View};
