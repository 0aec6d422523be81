//! Owns: `record`: a live trace whose view is a file, and the command that runs meanwhile.
//! Must not know: flags; the bytes of a recording.

pub mod cgroup;
pub mod command;
mod head;
mod namespaces;
pub mod output;
mod recorder;
mod signals;
pub mod user;

pub use command::Parting;
pub use recorder::{Recorder, Setup};
