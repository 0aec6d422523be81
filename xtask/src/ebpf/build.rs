//! Building the BPF object so that two machines get the same bytes.
//!
//! Owns: the flags, and what must not leak into them. Must not know: where the toolchain was found.

use crate::arch::Arch;
use crate::{project, sh};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "bpfel-unknown-none";

/// The flags that shape the object; part of the fingerprint of its sources.
///
/// BTF comes from debug information, hence `debuginfo=2`. Linux 5.10 knows instruction set v3 (ALU32 and JMP32), but no
/// fetching atomics, which the sources must not use on x86-64. bpf-linker does the link-time optimisation, cargo's would only
/// make it depend on the workspace's profile.
pub(super) const SHAPING_FLAGS: [&str; 6] = [
    "-Cdebuginfo=2",
    "-Ctarget-cpu=v3",
    "-Cembed-bitcode=yes",
    "-Ccodegen-units=1",
    "-Clinker=bpf-linker",
    "-Clink-arg=--btf",
];

/// A Rust compiler that can build for BPF.
pub(super) enum Compiler {
    /// A distribution's, with a compiled `core` for BPF.
    System { cargo: PathBuf, rustc: PathBuf },
    /// rustup's nightly, which builds `core` itself.
    Nightly,
}

/// Everything that a build needs.
pub(super) struct Toolchain {
    pub(super) compiler: Compiler,
    pub(super) sysroot: PathBuf,
    pub(super) rustc_version: String,
    pub(super) llvm: String,
    pub(super) bpf_linker: PathBuf,
    pub(super) bpf_linker_version: String,
    pub(super) objcopy: PathBuf,
}

impl Toolchain {
    /// One line for people.
    pub(super) fn describe(&self) -> String {
        format!("{}, LLVM {}, bpf-linker {}", self.rustc_version, self.llvm, self.bpf_linker_version)
    }

    fn cargo(&self) -> Command {
        let mut command = match &self.compiler {
            Compiler::System { cargo, rustc } => {
                let mut command = Command::new(cargo);
                clean_environment(&mut command);
                // BPF assembly is an unstable feature; this unlocks it for the crates that use it, and for no other.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "aya_ebpf,twtrace");
                command
            }
            Compiler::Nightly => {
                let mut command = Command::new("rustup");
                clean_environment(&mut command);
                command.args(["run", "nightly", "cargo"]);
                command
            }
        };
        command.current_dir(project::root());
        command
    }
}

/// Builds the object for an architecture, strips its debug information (BTF stays) and puts it at `out`.
///
/// # Errors
/// Where a step fails; its output is on the terminal.
pub(super) fn object(toolchain: &Toolchain, arch: Arch, out: &Path) -> Result<()> {
    // The registry's folder has a name that differs between releases of cargo: it must exist before it is remapped.
    sh::run(toolchain.cargo().args(["fetch", "--quiet", "--locked", "--target", TARGET]))?;
    let target_dir = project::target_dir().join("bpf/build");
    let mut command = toolchain.cargo();
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "twtrace-ebpf",
        "--target",
        TARGET,
    ]);
    if let Compiler::Nightly = toolchain.compiler {
        command.arg("-Zbuild-std=core");
    }
    if arch == Arch::Arm64 {
        command.args(["--features", "aarch64"]);
    }
    command.arg("--target-dir").arg(&target_dir);
    // Else it would be this machine's own.
    command.env("AYA_BPF_TARGET_ARCH", arch.machine());
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?.join(&OsString::from("\x1f")));
    for (key, value) in [("LTO", "off"), ("STRIP", "none"), ("PANIC", "abort")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    // In a developer's environment it would outdo the profile, and the object would be another one.
    command.env("CARGO_INCREMENTAL", "0");
    command.env("PATH", path_with(&toolchain.bpf_linker)?);
    sh::run(&mut command)?;

    let parent = out.parent().context("the object needs a folder")?;
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let linked = target_dir.join(TARGET).join("release/twtrace");
    sh::run(Command::new(&toolchain.objcopy).arg("--strip-debug").arg(linked).arg(out))?;
    foreign_paths(&std::fs::read(out)?)
}

fn flags(toolchain: &Toolchain) -> Result<Vec<OsString>> {
    let mut flags: Vec<OsString> = SHAPING_FLAGS.iter().map(OsString::from).collect();
    let mut remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    };
    let rust_source = toolchain.sysroot.join("lib/rustlib/src/rust");
    remap(project::root(), "/twtrace");
    remap(&rust_source, "/rust");
    if let Ok(real) = rust_source.canonicalize() {
        remap(&real, "/rust");
    }
    let registry = project::cargo_home().join("registry/src");
    for index in std::fs::read_dir(&registry).with_context(|| registry.display().to_string())? {
        remap(&index?.path(), "/registry");
    }
    Ok(flags)
}

/// A path of this machine in the object's BTF would make it another object on the next machine.
fn foreign_paths(object: &[u8]) -> Result<()> {
    let home = project::cargo_home();
    match [project::root(), home.as_path()].into_iter().find(|path| names(object, path)) {
        Some(path) => bail!("the object names {}: a path was not remapped", path.display()),
        None => Ok(()),
    }
}

/// Whether one of the object's strings begins with that path. BTF keeps them one after the other, each ended by NUL;
/// further on in a string it is another path's part, such as `/registry/x/src` in a checkout in `/src`.
fn names(object: &[u8], path: &Path) -> bool {
    let needle = [b"\0", path.as_os_str().as_encoded_bytes(), b"/"].concat();
    object.windows(needle.len()).any(|window| window == needle)
}

/// The linker goes by its bare name, so that the flags are the same on all machines; hence it must be on PATH, first.
fn path_with(linker: &Path) -> Result<OsString> {
    let folder = linker.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folder.chain(std::env::split_paths(&path))).context("PATH")
}

/// Takes out of a command's environment what the cargo that runs xtask left there for its own toolchain.
pub(super) fn clean_environment(command: &mut Command) {
    for name in
        ["LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTC_WRAPPER"]
    {
        command.env_remove(name);
    }
    for name in
        ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"]
    {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_string_that_begins_with_a_path_names_it() {
        let object = b"x\0/registry/a/src/lib.rs\0/home/me/twtrace/src/main.rs\0/home/mean/x";
        assert!(names(object, Path::new("/home/me")));
        assert!(!names(object, Path::new("/src")));
        assert!(!names(object, Path::new("/home/mea")));
    }
}
