//! Owns: the BPF object that is embedded in the binary.
//! Must not know: what is in it.

use std::borrow::Cow;

/// Names an object to use in the place of the embedded one: how a rebuilt object is tested.
pub(super) const OVERRIDE: &str = "TWTRACE_BPF_OBJECT";

/// Aligned as ELF wants it.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../../bpf/twtrace.bpf.o");

/// The object's bytes.
///
/// # Errors
/// Where the file that the environment names cannot be read.
pub(super) fn bytes() -> std::io::Result<Cow<'static, [u8]>> {
    match std::env::var_os(OVERRIDE) {
        Some(path) => std::fs::read(path).map(Cow::Owned),
        None => Ok(Cow::Borrowed(EMBEDDED)),
    }
}
