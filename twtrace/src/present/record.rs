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
pub use recorder::Recorder;

use std::time::Duration;

use self::cgroup::Cgroup;
use self::command::Command;
use crate::diagnose::gather::Rhythm;

/// What to record.
pub struct Setup {
    /// The filters in words.
    pub filters: Vec<String>,
    /// Network namespaces of interest; all, where empty.
    pub netns: Vec<u32>,
    /// What to start.
    pub command: Option<Command>,
    /// The cgroup to start it in.
    pub cgroup: Option<Cgroup>,
    /// How long to go on once the command has ended: its last connections are still being closed.
    pub settle: Duration,
    /// How often the kernel's lists are looked at meanwhile; `None`: never.
    pub rhythm: Option<Rhythm>,
}
