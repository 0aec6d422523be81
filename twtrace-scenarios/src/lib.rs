//! Real TCP situations with exact outcomes, each in a network namespace of its own, and the judgement of what twtrace
//! told about them.
//!
//! Owns: the modules. A scenario (`scenarios`) tells actors (`actor`, `play`) what to do in its `world` and says what
//! must be told (`expect`); `stage` runs scenarios, `tracer` runs twtrace, `judge` compares, `run` prints.
//! Must not know: the command line.

pub mod actor;
pub mod around;
pub mod books;
pub mod bpf;
pub mod brood;
pub mod cgroup;
pub mod expect;
pub mod hung;
pub mod instructions;
pub mod judge;
pub mod kernel;
pub mod limits;
pub mod loose;
pub mod many;
pub mod mounts;
pub mod netns;
pub mod op;
mod pair;
pub mod play;
pub mod ring;
pub mod run;
pub mod scenarios;
pub mod schema;
pub mod ss;
pub mod stage;
pub mod tmux;
pub mod tracer;
pub mod wait;
pub mod world;
