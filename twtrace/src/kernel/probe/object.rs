//! Owns: the BPF object that is embedded in the binary, packed by build.rs.
//! Must not know: what is in it.

use std::io::{self, Read as _};

use flate2::read::DeflateDecoder;

/// Names an object to use in the place of the embedded one: how a rebuilt object is tested.
pub(super) const OVERRIDE: &str = "TWTRACE_BPF_OBJECT";

/// That of the architecture that is built for: build.rs chooses.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twtrace.bpf.o.deflate"));

/// The object's bytes.
///
/// # Errors
/// Where the file that the environment names cannot be read.
pub(super) fn bytes() -> io::Result<Vec<u8>> {
    match std::env::var_os(OVERRIDE) {
        Some(path) => std::fs::read(path),
        None => unpacked(),
    }
}

fn unpacked() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1 << 20);
    DeflateDecoder::new(EMBEDDED).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_embedded_is_what_is_checked_in() {
        let name = if cfg!(target_arch = "aarch64") { "twtrace.aarch64.bpf.o" } else { "twtrace.bpf.o" };
        let object = format!("{}/bpf/{name}", env!("CARGO_MANIFEST_DIR"));
        assert!(super::unpacked().unwrap() == std::fs::read(object).unwrap());
    }
}
