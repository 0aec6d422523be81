//! `cargo xtask ebpf`: the checked-in BPF object, built, recorded and checked.
//!
//! Owns: the object, the record beside it (`toolchain.json`), and when the two agree with the sources.
//! Must not know: what the object's programs do.

mod build;
mod sources;
mod toolchain;

pub(crate) use toolchain::{BPF_LINKER_VERSION, debian_llvm_major, linkers};

use crate::arch::Arch;
use crate::project;
use anyhow::{Context, Result, bail};
use build::Toolchain;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail where the object is older than its sources, or another than this machine's same toolchain builds
    #[arg(long)]
    check: bool,
    /// Build the x86-64 object here instead of into the repository; nothing is recorded
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
}

/// What built the checked-in object, and from what.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// First line of `rustc --version`.
    rustc: String,
    /// LLVM release inside that rustc.
    llvm: String,
    /// Release of bpf-linker.
    bpf_linker: String,
    /// SHA-256 of twtrace.bpf.o, in hex.
    object_sha256: String,
    /// SHA-256 of twtrace.aarch64.bpf.o, in hex.
    object_aarch64_sha256: String,
    /// SHA-256 over everything that the object is built from, in hex: see `sources::digest`.
    sources_sha256: String,
}

/// Runs the command.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.check {
        return check().map(drop);
    }
    let toolchain = toolchain::find()?;
    println!("building with {}", toolchain.describe());
    if let Some(out) = &args.out {
        return build::object(&toolchain, Arch::Amd64, out);
    }
    for arch in Arch::ALL {
        build::object(&toolchain, arch, &object_path(arch))?;
    }
    let record = Record {
        rustc: toolchain.rustc_version.clone(),
        llvm: toolchain.llvm.clone(),
        bpf_linker: toolchain.bpf_linker_version.clone(),
        object_sha256: sha256(&object_path(Arch::Amd64))?,
        object_aarch64_sha256: sha256(&object_path(Arch::Arm64))?,
        sources_sha256: sources::digest()?,
    };
    let path = record_path();
    std::fs::write(&path, serde_json::to_string_pretty(&record)? + "\n").with_context(|| name(&path))?;
    for object in Arch::ALL.map(object_path) {
        println!("wrote {} ({} bytes)", name(&object), std::fs::metadata(&object)?.len());
    }
    println!("wrote {}", name(&path));
    Ok(())
}

/// Where an architecture's checked-in object is.
fn object_path(arch: Arch) -> PathBuf {
    let object = project::object();
    match arch {
        Arch::Amd64 => object,
        Arch::Arm64 => object.with_file_name("twtrace.aarch64.bpf.o"),
    }
}

/// Checks the checked-in objects. Returns the object that kernel tests on x86-64 must run with, where it is not that one.
///
/// # Errors
/// Where the object is not the recorded one, where it is older than its sources, and where the recorded toolchain,
/// present on this machine, builds other bytes.
pub(crate) fn check() -> Result<Option<PathBuf>> {
    let record = read_record()?;
    let is_new = sources::digest()? == record.sources_sha256;
    for arch in Arch::ALL {
        let object = name(&object_path(arch));
        if sha256(&object_path(arch))? != *record.object_of(arch) {
            bail!("{object} is not the one that {} records; run `cargo xtask ebpf`", name(&record_path()));
        }
        if !is_new {
            bail!("{object} is older than its sources; run `cargo xtask ebpf` and commit what it writes");
        }
        println!("{object} is as new as its sources");
    }
    let toolchain = match toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(why) => {
            println!("it was not rebuilt to compare the bytes: {why:#}");
            return Ok(None);
        }
    };
    if record.was_built_by(&toolchain) {
        Arch::ALL.into_iter().try_for_each(|arch| same_bytes(&toolchain, arch))?;
        return Ok(None);
    }
    let rebuilt = project::target_dir().join("bpf/twtrace.bpf.o");
    println!(
        "this machine has {}; the object was built by {}, LLVM {}, bpf-linker {}: bytes cannot be compared",
        toolchain.describe(),
        record.rustc,
        record.llvm,
        record.bpf_linker
    );
    build::object(&toolchain, Arch::Amd64, &rebuilt)?;
    println!("kernel tests run with the rebuilt one: TWTRACE_BPF_OBJECT={}", rebuilt.display());
    Ok(Some(rebuilt))
}

fn same_bytes(toolchain: &Toolchain, arch: Arch) -> Result<()> {
    let object = object_path(arch);
    let rebuilt = project::target_dir().join("bpf/compared.bpf.o");
    build::object(toolchain, arch, &rebuilt)?;
    if std::fs::read(&rebuilt)? != std::fs::read(&object)? {
        bail!(
            "{} is not what {} builds from these sources (see {}); run `cargo xtask ebpf` and commit what it writes",
            name(&object),
            toolchain.describe(),
            rebuilt.display()
        );
    }
    println!("{} rebuilt with {}: the same bytes", name(&object), toolchain.describe());
    Ok(())
}

impl Record {
    fn object_of(&self, arch: Arch) -> &String {
        match arch {
            Arch::Amd64 => &self.object_sha256,
            Arch::Arm64 => &self.object_aarch64_sha256,
        }
    }

    fn was_built_by(&self, toolchain: &Toolchain) -> bool {
        self.rustc == toolchain.rustc_version
            && self.llvm == toolchain.llvm
            && self.bpf_linker == toolchain.bpf_linker_version
    }
}

fn record_path() -> PathBuf {
    project::object().with_file_name("toolchain.json")
}

fn read_record() -> Result<Record> {
    let path = record_path();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} cannot be read; run `cargo xtask ebpf`", name(&path)))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} cannot be parsed; run `cargo xtask ebpf`", name(&path)))
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| name(path))?;
    Ok(hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path as seen from the repository's root.
fn name(path: &Path) -> String {
    path.strip_prefix(project::root()).unwrap_or(path).display().to_string()
}
