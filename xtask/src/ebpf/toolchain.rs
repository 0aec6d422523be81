//! Which compiler, linker and objcopy of this machine can build a BPF object.
//!
//! Owns: the search. Must not know: the flags that they are called with.
//!
//! A distribution's rustc with a compiled BPF `core` comes before a nightly with rust-src: it is the one that CI has,
//! its release stands still, and so the checked-in object can be rebuilt byte for byte.

use super::build::{Compiler, Toolchain};
use crate::{project, sh};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use twtrace_kit::command::which;

/// The release of bpf-linker that the object is built with.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";

/// The toolchain to build with.
///
/// # Errors
/// Where something is missing; the error says what to install.
pub(super) fn find() -> Result<Toolchain> {
    let (compiler, rustc) = match system_rustc() {
        Ok(rustc) => (Compiler::System { cargo: SYSTEM_CARGO.into(), rustc: SYSTEM_RUSTC.into() }, rustc),
        Err(system) => match nightly() {
            Ok(rustc) => (Compiler::Nightly, rustc),
            Err(nightly) => bail!(
                "no Rust compiler here can build for BPF.\n  distribution: {system:#}\n  rustup: {nightly:#}\n\
                 Install either\n  apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf rust-web-src   \
                 (Debian; `cargo xtask install` does)\n  rustup toolchain install nightly --component rust-src"
            ),
        },
    };
    let (bpf_linker, bpf_linker_version) =
        linkers(rustc.llvm_major()).into_iter().next().ok_or_else(|| {
            anyhow!("no bpf-linker; `cargo xtask install` builds one (LLVM {}) into target/tools", rustc.llvm)
        })?;
    let objcopy = objcopy(&rustc)?;
    Ok(Toolchain {
        compiler,
        sysroot: rustc.sysroot,
        rustc_version: rustc.version,
        llvm: rustc.llvm,
        bpf_linker,
        bpf_linker_version,
        objcopy,
    })
}

/// The bpf-linkers of this machine that have the compiler's LLVM: the wanted release first, then in order of search.
pub(crate) fn linkers(llvm_major: &str) -> Vec<(PathBuf, String)> {
    let own = project::target_dir().join("tools/bin/bpf-linker");
    let home = project::cargo_home().join("bin/bpf-linker");
    let mut found: Vec<_> = [Some(own), which("bpf-linker"), Some(home)]
        .into_iter()
        .flatten()
        .filter_map(|path| {
            let text = sh::read(Command::new(&path).arg("--version")).ok()?;
            let libraries = sh::read(Command::new("ldd").arg(&path)).unwrap_or_default();
            let version = text.trim().strip_prefix("bpf-linker ")?.to_owned();
            has_llvm(&libraries, llvm_major).then_some((path, version))
        })
        .collect();
    found.sort_by_key(|(_, version)| version != BPF_LINKER_VERSION);
    found
}

/// Whether a program whose libraries `ldd` lists has this LLVM. One that was linked statically (as the prebuilt
/// releases are) does not tell, and is given the benefit of the doubt.
fn has_llvm(ldd: &str, major: &str) -> bool {
    let mut names = ldd.split_whitespace().filter(|word| word.starts_with("libLLVM"));
    names.all(|name| name.split(|c: char| !c.is_ascii_digit()).any(|number| number == major))
}

/// The LLVM major release that the distribution's rustc was built with, where there is one.
pub(crate) fn debian_llvm_major() -> Option<String> {
    Some(Rustc::ask(SYSTEM_RUSTC, &[]).ok()?.llvm_major().to_owned())
}

/// What a rustc says about itself.
struct Rustc {
    version: String,
    llvm: String,
    host: String,
    sysroot: PathBuf,
}

impl Rustc {
    /// Asks `program`, called with `before` in front of rustc's own arguments.
    fn ask(program: &str, before: &[&str]) -> Result<Rustc> {
        let answer = |args: &[&str]| {
            let mut command = Command::new(program);
            super::build::clean_environment(&mut command);
            sh::read(command.args(before).args(args))
        };
        let verbose = answer(&["-vV"])?;
        let mut rustc =
            Rustc::parse(&verbose).with_context(|| format!("`{program} -vV` printed `{verbose}`"))?;
        rustc.sysroot = answer(&["--print", "sysroot"])?.trim().into();
        Ok(rustc)
    }

    fn parse(verbose: &str) -> Option<Rustc> {
        let field = |name: &str| {
            verbose.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
        };
        Some(Rustc {
            version: verbose.lines().next().filter(|line| line.starts_with("rustc "))?.to_owned(),
            llvm: field("LLVM version:")?,
            host: field("host:")?,
            sysroot: PathBuf::new(),
        })
    }

    fn llvm_major(&self) -> &str {
        self.llvm.split('.').next().unwrap_or_default()
    }
}

fn system_rustc() -> Result<Rustc> {
    for needed in [SYSTEM_RUSTC, SYSTEM_CARGO] {
        if !Path::new(needed).exists() {
            bail!("there is no {needed}");
        }
    }
    let rustc = Rustc::ask(SYSTEM_RUSTC, &[])?;
    let core = rustc.sysroot.join("lib/rustlib/bpfel-unknown-none/lib");
    let has_core = std::fs::read_dir(&core).is_ok_and(|dir| {
        dir.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    });
    if !has_core {
        bail!("{SYSTEM_RUSTC} ({}) has no BPF `core` in {}", rustc.version, core.display());
    }
    Ok(rustc)
}

fn nightly() -> Result<Rustc> {
    let rustc = Rustc::ask("rustup", &["run", "nightly", "rustc"])?;
    let source = rustc.sysroot.join("lib/rustlib/src/rust/library/core");
    if !source.is_dir() {
        bail!("the nightly toolchain has no rust-src");
    }
    Ok(rustc)
}

fn objcopy(rustc: &Rustc) -> Result<PathBuf> {
    let major = rustc.llvm_major();
    let bundled = rustc.sysroot.join("lib/rustlib").join(&rustc.host).join("bin");
    let candidates = [
        Some(PathBuf::from(format!("/usr/lib/llvm-{major}/bin/llvm-objcopy"))),
        which(&format!("llvm-objcopy-{major}")),
        Some(bundled.join("llvm-objcopy")),
        Some(bundled.join("rust-objcopy")),
        which("llvm-objcopy"),
    ];
    candidates
        .into_iter()
        .flatten()
        .find(|path| path.exists())
        .ok_or_else(|| anyhow!("no llvm-objcopy; install llvm-{major}, or `rustup component add llvm-tools`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_with_another_llvm_is_no_linker() {
        let ldd = "\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x7f)\n\tlibc.so.6 => /lib/libc.so.6\n";
        assert!(has_llvm(ldd, "22") && !has_llvm(ldd, "23") && !has_llvm(ldd, "2"));
        assert!(!has_llvm("libLLVM-19.so.1 => /usr/lib/libLLVM-19.so.1\n", "22"));
        assert!(has_llvm("\tstatically linked\n", "22"));
    }

    #[test]
    fn the_verbose_version_is_read_field_by_field() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let rustc = Rustc::parse(text).unwrap();
        assert_eq!(rustc.version, "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)");
        assert_eq!((rustc.llvm.as_str(), rustc.llvm_major()), ("22.1.8", "22"));
        assert_eq!(rustc.host, "x86_64-unknown-linux-gnu");
        assert!(Rustc::parse("error: toolchain is not installed").is_none());
    }
}
