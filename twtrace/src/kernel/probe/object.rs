//! Owns: the BPF object that is embedded in the binary, packed by build.rs, and the loader that makes one of it for each attempt.
//! Must not know: which programs are in it, where they are attached.

use std::io::{self, Read as _};

use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use flate2::read::DeflateDecoder;
use twtrace_common::config::Config;

use super::{Options, counters};

/// Cgroups of which the kernel side remembers that nothing of them travels. 320 KiB, where there is a filter on cgroups.
const STRANGERS: u32 = 4096;

/// Names an object to use in the place of the embedded one: how a rebuilt object is tested.
const OVERRIDE: &str = "TWTRACE_BPF_OBJECT";

/// That of the architecture that is built for: build.rs chooses.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twtrace.bpf.o.deflate"));

/// The object's bytes.
///
/// # Errors
/// Where the file that the environment names cannot be read.
fn bytes() -> io::Result<Vec<u8>> {
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

/// Ports in LISTEN that are remembered. Each CPU that adds the first takes up to 128 free places of the map to itself,
/// and where none is left it throws out what others put there (`LOCAL_FREE_TARGET`, kernel/bpf/bpf_lru_list.c, 5.10 to
/// 7.3): there are twice as many as that takes.
fn listeners_kept() -> u32 {
    const A_CPU: u32 = 256;
    const LEAST: u32 = 16_384;
    let cpus = aya::util::nr_cpus().unwrap_or(1);
    u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(A_CPU).clamp(LEAST, 1 << 20)
}

/// Makes objects out of the embedded one. aya reads and parses all of the kernel's types for each loader, which takes as long as three
/// programs do: there is one for all attempts.
pub(super) struct Loader {
    loader: EbpfLoader<'static>,
    /// The object.
    bytes: io::Result<Vec<u8>>,
}

impl Loader {
    /// Reads the kernel's types, and the object.
    pub(super) fn new(options: &Options) -> Self {
        let mut loader = EbpfLoader::new();
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global("AYA_LOG_LEVEL", if options.debug_log { &u8::MAX } else { &0 }, false)
            .map_max_entries("EVENTS", options.ring_bytes)
            .map_max_entries("LISTENERS", listeners_kept());
        if options.filter.track_live {
            loader.map_max_entries("LIVE", options.live_entries);
        }
        if options.filter.by_cgroup() {
            loader.map_max_entries("STRANGERS", STRANGERS);
        }
        if options.times_connect {
            counters::fit_times(&mut loader);
        }
        Self { loader, bytes: bytes() }
    }

    /// Makes one with this configuration.
    ///
    /// # Errors
    /// What the kernel, or the file that stands in for the embedded object, has against it.
    pub(super) fn load(&mut self, config: Config) -> Result<Ebpf, Box<dyn std::error::Error>> {
        let bytes = self.bytes.as_ref().map_err(ToString::to_string)?;
        raise_memlock();
        // It is to live as long as the loader, which takes another one for each of a few attempts: 1.5 KB each for good.
        let config: &'static Config = Box::leak(Box::new(config));
        let loader = self.loader.override_global("CONFIG", twtrace_common::bytes_of(config), true);
        Ok(loader.load(bytes)?)
    }
}

/// Before 5.11 BPF memory counts as locked memory. Where the limit cannot be raised the kernel will say so.
pub(super) fn raise_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
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
