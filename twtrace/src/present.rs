//! Owns: the views: everything that is shown or written of what was counted.
//! Must not know: hooks; a view never asks the kernel (but for `list` and `drain`, which show its lists).

pub mod diff;
pub mod drain;
pub mod export;
pub mod list;
pub mod live;
pub mod record;
pub mod report;
pub mod serve;
pub mod signs;
pub mod table;
pub mod tui;
