//! Skeleton.

pub mod escape;
pub mod identity;
pub mod net;
