//! Skeleton.

pub mod escape;
pub mod net;
