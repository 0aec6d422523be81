//! Owns: what must hold of exports.
//! Must not know: files on a disk.
