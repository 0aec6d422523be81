//! The program as users get it: static, small, and the same bytes wherever the tree lies.
//!
//! Owns: how cargo is called. Must not know: what is done with the program.

use crate::arch::Arch;
use crate::{install, project, sh};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its profile in Cargo.toml.
pub(super) const PROFILE: &str = "dist";

/// For the program alone: no symbols, and its addresses packed. A program that can lie anywhere has twenty thousand of them to mend when it
/// starts, which take a few kilobytes so and not half a megabyte. glibc does it since 2.36. Functions of the same instructions are there
/// once (lld, Rust's own linker): Rust promises no function an address of its own.
const LINKED: [&str; 3] =
    ["-Cstrip=symbols", "-Clink-arg=-Wl,-z,pack-relative-relocs", "-Clink-arg=-Wl,--icf=all"];

/// Ways of compressing that zstd takes above level 3, and we never ask for: these are half of it.
const WITHOUT: [&str; 6] = ["GREEDY", "LAZY", "LAZY2", "BTLAZY2", "BTOPT", "BTULTRA"];

/// A checkout, and where it is built.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// Its root.
    pub(super) root: PathBuf,
    /// Where cargo builds.
    pub(super) target_dir: PathBuf,
    /// The commit that `twtrace --version --verbose` tells, where it is known.
    pub(super) commit: Option<String>,
    /// What it is built for.
    pub(super) arch: Arch,
}

impl Tree {
    /// The one that this xtask is part of.
    pub(super) fn this(arch: Arch) -> Tree {
        let root = project::root().to_owned();
        Tree { commit: commit(&root), target_dir: project::target_dir(), root, arch }
    }

    /// The folder that it is built into.
    pub(super) fn built(&self) -> PathBuf {
        self.target_dir.join(self.arch.target()).join(PROFILE)
    }

    /// The program, once it is built.
    pub(super) fn program(&self) -> PathBuf {
        self.built().join("twtrace")
    }

    /// `cargo` in this tree.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target_dir);
        command
    }
}

/// Builds the program, and says where it is.
///
/// # Errors
/// Where cargo fails, or the program is not the same elsewhere.
pub(super) fn build(tree: &Tree) -> Result<PathBuf> {
    // What is not fetched yet has no folder whose name could be left out of the programs.
    let target = tree.arch.target();
    install::for_arch(tree.arch)?;
    sh::run(tree.cargo().args(["fetch", "--quiet", "--locked", "--target", target]))?;
    let prefixes = prefixes(tree)?;
    let map =
        |flag: &str| prefixes.iter().map(|(from, to)| format!("{flag}={from}={to}")).collect::<Vec<_>>();
    let mut command = tree.cargo();
    command.args(["rustc", "--quiet", "--locked", "--profile", PROFILE, "--target", target]);
    command.args(["--package", "twtrace", "--bin", "twtrace", "--"]).args(LINKED).args(lld(tree.arch)?);
    tree.arch.tools(&mut command)?;
    let flags = [vec!["-Ctarget-feature=+crt-static".to_owned()], map("--remap-path-prefix")].concat();
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("RUSTFLAGS");
    let without = WITHOUT.map(|way| format!("-DZSTD_EXCLUDE_{way}_BLOCK_COMPRESSOR"));
    let flags = [map("-ffile-prefix-map"), without.to_vec()].concat();
    command.env(format!("CFLAGS_{}", target.replace('-', "_")), flags.join(" "));
    // Tables of parts that a developer's environment asks for are others in each run.
    command.env("CARGO_INCREMENTAL", "0");
    match &tree.commit {
        Some(commit) => command.env("TWTRACE_COMMIT", commit),
        None => command.env_remove("TWTRACE_COMMIT"),
    };
    sh::run(&mut command)?;
    let program = tree.program();
    names_no_path_of(tree, &program)?;
    Ok(program)
}

/// Debian's cross compiler links with a linker of its own, which packs no addresses: it is told where Rust's is.
fn lld(arch: Arch) -> Result<Vec<String>> {
    if arch.is_own() {
        return Ok(Vec::new());
    }
    let sysroot = sh::read(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = sh::read(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let folder = Path::new(sysroot.trim()).join("lib/rustlib").join(host.trim()).join("bin/gcc-ld");
    ensure!(folder.join("ld.lld").exists(), "{} has no ld.lld: this Rust comes without it", folder.display());
    Ok(vec!["-Clink-arg=-fuse-ld=lld".to_owned(), format!("-Clink-arg=-B{}", folder.display())])
}

/// A folder of this machine in the program would make it another program elsewhere.
fn names_no_path_of(tree: &Tree, program: &Path) -> Result<()> {
    let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
    for path in [&tree.root, &project::cargo_home()] {
        let path = path.as_os_str().as_encoded_bytes();
        let is_named = bytes.windows(path.len()).any(|window| window == path);
        ensure!(!is_named, "the program names {}: a path was not mapped", String::from_utf8_lossy(path));
    }
    Ok(())
}

/// Folders whose names must not get into a program, and what stands there in their place. Of several that fit, the last counts.
fn prefixes(tree: &Tree) -> Result<Vec<(String, String)>> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
    };
    let mut prefixes = vec![
        (text(&tree.root)?, "/twtrace".to_owned()),
        (text(&tree.target_dir)?, "/twtrace/target".to_owned()),
    ];
    // One folder for each registry, named after where it is.
    for entry in std::fs::read_dir(project::cargo_home().join("registry/src")).into_iter().flatten() {
        prefixes.push((text(&entry?.path())?, "/crates".to_owned()));
    }
    Ok(prefixes)
}

/// What `TWTRACE_COMMIT` says, else what git says of the tree.
fn commit(root: &Path) -> Option<String> {
    if let Ok(given) = std::env::var("TWTRACE_COMMIT") {
        return Some(given);
    }
    let git = |args: &[&str]| sh::read(Command::new("git").arg("-C").arg(root).args(args)).ok();
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(format!("{}{}", commit.trim(), if changed.is_empty() { "" } else { ", with changes" }))
}
