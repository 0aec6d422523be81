//! Real TCP situations with exact outcomes, each in a network namespace of its own, and the judgement of what twtrace
//! told about them.
//!
//! Owns: the modules. A scenario (`scenarios`) tells actors (of the kit) what to do in its `sandbox` and says what
//! must be told (`expect`); `stage` runs scenarios, `tracer` runs twtrace, `judge` compares, `run` prints.
//! Must not know: the command line.

pub mod around;
mod cgroup;
pub mod children;
mod containerd;
mod cri;
mod expect;
mod hung;
pub mod instructions;
mod judge;
mod limits;
mod many;
mod nginx;
pub mod run;
pub mod sandbox;
pub mod scenarios;
mod schema;
mod sockets;
mod ss;
mod stage;
mod tmux;
pub mod tracer;
