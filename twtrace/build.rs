//! Packs the BPF object that is checked in: most of it says which line of the source an instruction is of, and a program that carries it
//! plain is larger by 0.8 MB.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

const OBJECT: &str = "bpf/twtrace.bpf.o";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={OBJECT}");
    let plain = std::fs::read(OBJECT).map_err(|error| format!("{OBJECT}: {error}"))?;
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&plain)?;
    let folder = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    std::fs::write(Path::new(&folder).join("twtrace.bpf.o.deflate"), packed.finish()?)?;
    Ok(())
}
