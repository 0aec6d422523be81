//! twtrace: for each TIME_WAIT socket on Linux, who made it, towards whom, and why it ended.
//!
//! Data flows one way: kernel → ring → [`kernel`] → [`engine`] → view. See ARCHITECTURE.md.

pub mod cli;
pub mod diagnose;
pub mod engine;
pub mod host;
pub mod kernel;
pub mod model;
pub mod output;
pub mod present;
pub mod recording;
pub mod source;
