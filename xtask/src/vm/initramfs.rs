//! A guest's root file system: our static programs, the tools they call, the kernel's modules.
//!
//! Owns: what goes where. Must not know: how a guest boots, the archive's format.

use super::cpio::Archive;
use super::kernels::Kernel;
use crate::arch::Arch;
use crate::{install, project, sh};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::process::Command;
use twtrace_kit::command::which;

/// Programs that scenarios call, with the libraries that they need: the host's, or Debian's for another architecture.
const TOOLS: [&str; 5] = ["ss", "ip", "sh", "true", "cat"];

/// Modules that scenarios and counted loads need where the kernel has them as modules and not built in.
const MODULES: [&str; 5] = ["tcp_diag", "unix_diag", "veth", "dummy", "tun"];

/// What all tests and measurements run: built in one go, because cargo compiles what programs have in common anew for each other
/// choice of them.
const PROGRAMS: [&str; 10] = [
    "-p",
    "twtrace",
    "-p",
    "twtrace-scenarios",
    "-p",
    "twtrace-bench",
    "--example",
    "frame",
    "--example",
    "synthetic",
];

/// Builds everything as guests need it, without a libc to load, and says where it is.
///
/// # Errors
/// Where cargo fails.
pub(crate) fn build_programs(arch: Arch) -> Result<PathBuf> {
    install::for_arch(arch)?;
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release", "--locked", "--target", arch.target()]);
    // Nothing is measured on another architecture.
    command.args(if arch == Arch::Amd64 { &PROGRAMS[..] } else { &PROGRAMS[..4] }).arg("--bins");
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    arch.tools(&mut command)?;
    sh::run(command.current_dir(project::root()))?;
    Ok(project::target_dir().join(arch.target()).join("release"))
}

/// What is the same in all guests: programs, tools and a BPF object to use instead of the embedded one.
pub(super) struct Contents {
    files: Vec<(String, Vec<u8>)>,
}

impl Contents {
    /// Reads everything once.
    ///
    /// # Errors
    /// Where a program is missing.
    pub(super) fn new(
        programs: &Path,
        program: &Path,
        arch: Arch,
        bpf_object: Option<&Path>,
    ) -> Result<Contents> {
        let mut contents = Contents { files: Vec::new() };
        contents.add("/init", &programs.join("guest-init"))?;
        contents.add("/bin/twtrace", program)?;
        contents.add("/bin/twtrace-scenarios", &programs.join("twtrace-scenarios"))?;
        if let Some(object) = bpf_object {
            contents.add("/lib/twtrace.bpf.o", object)?;
        }
        match arch {
            Arch::Amd64 => contents.add_tools()?,
            Arch::Arm64 => contents.add_foreign_tools(&super::kernels::tools(arch)?)?,
        }
        Ok(contents)
    }

    fn add_tools(&mut self) -> Result<()> {
        for tool in TOOLS {
            let path = which(tool)
                .ok_or_else(|| anyhow!("no `{tool}` here; install iproute2, dash and coreutils"))?;
            for library in libraries(&sh::read(Command::new("ldd").arg(&path))?) {
                self.add(&library.to_string_lossy(), &library)?;
            }
            self.add(&format!("/bin/{tool}"), &path)?;
        }
        Ok(())
    }

    /// The same from packages that are unpacked at `root`: what they need is found by name, as `ldd` runs no program of another machine.
    fn add_foreign_tools(&mut self, root: &Path) -> Result<()> {
        let mut needed = vec!["ld-linux-aarch64.so.1".to_owned()];
        for tool in TOOLS {
            let file = if tool == "sh" { "dash" } else { tool };
            let path = found(root, &["bin", "usr/bin", "sbin"], file)?;
            needed.extend(needed_by(&path)?);
            self.add(&format!("/bin/{tool}"), &path)?;
        }
        while let Some(library) = needed.pop() {
            let folders = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib"];
            let path = found(root, &folders, &library)?;
            let name = format!("/lib/{library}");
            if self.files.iter().all(|(known, _)| *known != name) {
                needed.extend(needed_by(&path)?);
                self.add(&name, &path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, source: &Path) -> Result<()> {
        if self.files.iter().all(|(known, _)| known != name) {
            let bytes = std::fs::read(source).with_context(|| source.display().to_string())?;
            self.files.push((name.to_owned(), bytes));
        }
        Ok(())
    }

    /// The archive for one kernel.
    ///
    /// # Errors
    /// Where a module cannot be read.
    pub(super) fn archive(&self, kernel: &Kernel) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.device("/dev/console", 5, 1);
        for (name, bytes) in &self.files {
            archive.file(name, bytes);
        }
        let mut order = String::new();
        for (name, bytes) in modules(kernel.modules.as_deref())? {
            archive.file(&format!("/modules/{name}.ko"), &bytes);
            order += &format!("{name}.ko\n");
        }
        archive.file("/modules/order", order.as_bytes());
        Ok(archive.finish())
    }
}

/// A file in one of some folders.
fn found(root: &Path, folders: &[&str], name: &str) -> Result<PathBuf> {
    let mut paths = folders.iter().map(|folder| root.join(folder).join(name));
    paths.find(|path| path.exists()).ok_or_else(|| anyhow!("{} holds no {name}; delete it", root.display()))
}

/// The libraries that a program or a library names.
fn needed_by(file: &Path) -> Result<Vec<String>> {
    Ok(shared(&sh::read(Command::new("readelf").arg("--dynamic").arg(file))?))
}

/// From lines of `readelf` such as `0x1 (NEEDED) Shared library: [libc.so.6]`.
fn shared(readelf: &str) -> Vec<String> {
    let lines = readelf.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect()
}

/// The files that a line of `ldd` names: `libx.so => /lib/libx.so (0x…)`, or the dynamic linker's bare path.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// The modules we need and those that they need, each after what it depends on.
fn modules(folder: Option<&Path>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    if let Some(folder) = folder {
        find_modules(&folder.join("kernel"), &mut files)?;
    }
    let mut loaded = Vec::new();
    for name in MODULES {
        add_module(name, &files, &mut loaded)?;
    }
    Ok(loaded)
}

fn find_modules(dir: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if let Some((stem, _)) =
            path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split_once(".ko"))
        {
            files.push((stem.replace('-', "_"), path.clone()));
        }
    }
    Ok(())
}

fn add_module(name: &str, files: &[(String, PathBuf)], loaded: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if loaded.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    // Not there as a file: built in, or this kernel has no such thing, which the scenario will then say.
    let Some((_, path)) = files.iter().find(|(known, _)| known == name) else { return Ok(()) };
    let bytes = decompressed(path)?;
    for needed in dependencies(&bytes) {
        add_module(&needed, files, loaded)?;
    }
    loaded.push((name.to_owned(), bytes));
    Ok(())
}

fn decompressed(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|ext| ext != "xz") {
        return std::fs::read(path).with_context(|| path.display().to_string());
    }
    let output = sh::output(Command::new("xz").arg("-dc").arg(path)).context("install xz-utils")?;
    anyhow::ensure!(output.status.success(), "`xz -dc {}` failed: {}", path.display(), output.status);
    Ok(output.stdout)
}

/// The modules that a module names in its `.modinfo` section, as NUL-terminated `depends=a,b`.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let value = module[start + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_in_ldds_output() {
        let text = "\tlinux-vdso.so.1 (0x00007fd9e04f6000)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t\
                    /lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(
            libraries(text),
            [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld-linux-x86-64.so.2")]
        );
    }

    #[test]
    fn libraries_are_what_readelf_calls_needed() {
        let text = "Dynamic section at offset 0x1:\n 0x01 (NEEDED)  Shared library: [libbpf.so.1]\n \
                    0x0e (SONAME)  Library soname: [libelf.so.1]\n 0x01 (NEEDED)  Shared library: [libc.so.6]\n";
        assert_eq!(shared(text), ["libbpf.so.1", "libc.so.6"]);
    }

    #[test]
    fn a_module_comes_after_those_it_depends_on_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let net = dir.path().join("kernel/net");
        std::fs::create_dir_all(&net).unwrap();
        std::fs::write(net.join("tcp_diag.ko"), b"\x7fELF\0alias=x\0depends=inet-diag\0name=tcp_diag\0")
            .unwrap();
        std::fs::write(net.join("inet-diag.ko"), b"\x7fELF\0depends=\0").unwrap();
        std::fs::write(net.join("unix_diag.ko"), b"\x7fELF\0depends=inet_diag\0").unwrap();
        std::fs::write(net.join("other.ko"), b"").unwrap();
        let names: Vec<String> =
            modules(Some(dir.path())).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["inet_diag", "tcp_diag", "unix_diag"]);
        assert!(modules(None).unwrap().is_empty());
    }
}
