//! twtrace: for each TIME_WAIT socket on Linux, who made it, towards whom, and why it ended.
//!
//! Data flows one way: kernel → ring → [`decode`] → [`tracker`] → view. See ARCHITECTURE.md.

pub mod btf;
pub mod caps;
pub mod cli;
pub mod clock;
pub mod decode;
pub mod demo;
pub mod descriptors;
pub mod detached;
pub mod diff;
pub mod doctor;
pub mod drain;
pub mod escape;
pub mod event;
pub mod export;
pub mod files;
pub mod filter;
pub mod hz;
pub mod identity;
pub mod inquiry;
pub mod kallsyms;
pub mod limitation;
pub mod list;
pub mod live;
pub mod net;
pub mod notes;
pub mod output;
pub mod probe;
pub mod record;
pub mod recording;
pub mod replay;
pub mod report;
pub mod session;
pub mod tracker;
pub mod tui;
pub mod worker;
