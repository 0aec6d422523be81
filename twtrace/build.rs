//! Packs the BPF object that is checked in: most of it says which line of the source an instruction is of, and a program that carries it
//! plain is larger by 0.8 MB.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Both are of the same sources: see `Cargo.toml` of `twtrace-ebpf` for where they differ.
const OBJECTS: [&str; 2] = ["bpf/twtrace.bpf.o", "bpf/twtrace.aarch64.bpf.o"];

fn main() -> Result<(), Box<dyn Error>> {
    let is_arm = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "aarch64");
    let object = OBJECTS[usize::from(is_arm)];
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={object}");
    let plain = std::fs::read(object).map_err(|error| format!("{object}: {error}"))?;
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&plain)?;
    let folder = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    std::fs::write(Path::new(&folder).join("twtrace.bpf.o.deflate"), packed.finish()?)?;
    Ok(())
}
