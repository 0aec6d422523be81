//! Skeleton.
pub mod btf;
pub mod hz;
pub mod kallsyms;
