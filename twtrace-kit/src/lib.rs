//! What the harnesses (`twtrace-scenarios`, `twtrace-bench`) and `xtask` share.
//!
//! Owns: children that end with their value (`child`), running programs (`command`), waiting (`wait`), network namespaces
//! (`netns`), and how a harness says that a machine is not up to it (`cannot`).
//! Must not know: what is tested or measured; nothing of twtrace is used here.

pub mod cannot;
pub mod child;
pub mod command;
pub mod netns;
pub mod wait;
