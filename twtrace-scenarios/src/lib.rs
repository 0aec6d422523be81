//! Real TCP situations with exact outcomes, each in a network namespace of its own, and the judgement of what twtrace
//! told about them.
//!
//! Owns: the modules. A scenario (`scenarios`) tells actors (of the kit) what to do in its `sandbox` and says what
//! must be told (`expect`); `stage` runs scenarios, `tracer` runs twtrace, `judge` compares, `run` prints.
//! Must not know: the command line.

pub mod around;
pub mod cgroup;
pub mod children;
pub mod containerd;
pub mod cri;
pub mod expect;
pub mod hung;
pub mod instructions;
pub mod judge;
pub mod limits;
pub mod many;
pub mod nginx;
pub mod run;
pub mod sandbox;
pub mod scenarios;
pub mod schema;
pub mod sockets;
pub mod ss;
pub mod stage;
pub mod tmux;
pub mod tracer;
