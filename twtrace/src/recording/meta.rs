//! Owns: what a recording says about itself: at its start ([`Head`]) and at its end ([`Tail`]), as JSON objects.
//! Must not know: how the objects get into a file, how their values are come by.
//!
//! These types are the format, and so are those of `model` and `host` that are in them: their keys stay. A field that is added
//! later has a default; a reader passes over fields that it does not know.

use serde::{Deserialize, Serialize};

use super::lists::Lists;
use crate::host::net::books::Books;
use crate::model::clock::Clock;
use crate::model::event::Loss;
use crate::model::filter::Omissions;
use crate::model::limitation::Limitation;
use crate::model::settings::Settings;

/// The version of the format that is written. Readers read this one and all before.
///
/// 2: `listed` events in place of notes of seeds; `lost_missed`.
pub const FORMAT: u32 = 2;

/// What is known before the first event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// Version of the keys and of what they mean, [`crate::output::SCHEMA_VERSION`]; 0 in recordings that were made before there was one.
    pub schema_version: u32,
    /// Version of twtrace that recorded.
    pub twtrace: String,
    /// Name of the machine. Hostile until escaped, as every text here.
    pub host: String,
    /// What stays when its name changes, /etc/machine-id; empty where that is not known, and in older recordings.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Release of its kernel, `uname -r`.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: monotonic times of two recordings can be compared if it is the same.
    pub boot_id: String,
    /// CLOCK_MONOTONIC in nanoseconds at the start.
    pub mono_ns: u64,
    /// CLOCK_REALTIME in nanoseconds since 1970, read together with `mono_ns`.
    pub wall_ns: i64,
    /// Which backend told the events: `fentry`, `kprobe`, `tracepoint`.
    pub backend: String,
    /// The filters, as they were given: `--dport 80`. Empty: everything was recorded.
    pub filters: Vec<String>,
    /// Only events whose owner belongs to the command's processes were recorded.
    pub only_command: bool,
    /// What was started, where something was.
    pub command: Option<Command>,
    /// The network namespaces that could be asked at the start, with the values of then.
    pub namespaces: Vec<Namespace>,
    /// What could not be seen when it began.
    pub limitations: Vec<Limitation>,
    /// Of a rotated recording: which file this is, from 0.
    pub part: u64,
    /// Format 1: notes of sockets from before that follow the first dictionaries. Since then they are `listed` events.
    pub seed_notes: u32,
}

impl Head {
    /// The flags by which events were left out of the recording.
    pub fn flags(&self) -> impl Iterator<Item = String> {
        self.filters.iter().cloned().chain(self.only_command.then(|| "--only-command".to_owned()))
    }

    /// What they left out.
    pub fn part(&self) -> Omissions {
        Omissions::of(&self.flags().collect::<Vec<_>>())
    }

    /// The clock that gave the events their calendar time.
    pub fn clock(&self) -> Clock {
        Clock { mono_ns: self.mono_ns, wall_ns: self.wall_ns }
    }
}

/// A command that was started for the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    /// Program and arguments; what is not UTF-8 in them is replaced by U+FFFD.
    pub argv: Vec<String>,
    /// The user it ran as.
    pub uid: u32,
}

/// A network namespace and what the kernel said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its inode, the `netns` of events.
    pub netns: u32,
    /// Its name, if it is one of `ip netns`.
    pub name: Option<String>,
    /// The settings that matter; `None` where they could not be read.
    pub sysctls: Option<Settings>,
    /// The kernel's counters; `None` where they could not be read.
    pub counters: Option<Books>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// A signal: Ctrl-C, `kill`.
    #[default]
    Signal,
    /// `--duration` was over.
    Duration,
    /// The command ended.
    Command,
    /// The next file of a rotated recording goes on from here.
    Rotated,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

/// What is known only at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// CLOCK_MONOTONIC in nanoseconds of the moment up to which events were told; in older recordings that at which the hooks had been let go,
    /// half a second later.
    pub mono_ns: u64,
    /// CLOCK_REALTIME in nanoseconds since 1970, read together with `mono_ns`.
    pub wall_ns: i64,
    /// Why it ended.
    pub stop: Stop,
    /// What became of the command, where one was started and has ended.
    pub command: Option<Ending>,
    /// The network namespaces that could be asked at the end, with the values of then.
    pub namespaces: Vec<Namespace>,
    /// All that was lost in the whole recording, rotated files before this one included.
    pub lost: Loss,
    /// All that could not be seen, what was found out after the start included.
    pub limitations: Vec<Limitation>,
    /// Rows in this file.
    pub events: u64,
    /// TIME_WAIT sockets that were known to live at the end.
    pub live: u64,
    /// What the kernel's lists showed meanwhile, in this file's time; `None` in older recordings, and where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<Lists>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Exit status or signal.
    pub exit: Exit,
    /// What it used, its children that it waited for included.
    pub usage: Usage,
}

/// An exit status, or the signal that was the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Of `getrusage(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time in user mode, microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, microseconds.
    pub system_us: u64,
    /// The most memory that one process of it had resident, KiB.
    pub max_rss_kib: u64,
    /// Context switches of its own will.
    pub voluntary_switches: u64,
    /// Context switches against its will.
    pub involuntary_switches: u64,
}
