//! `cargo xtask dist`: what users install, built from this tree, the same bytes wherever the tree lies.
//!
//! Owns: what is made, under which names, in which order, and how large it may be. Must not know: the format of any of it.

mod again;
mod libraries;
mod packages;
mod program;
mod stage;
mod trial;

use crate::arch::Arch;
use crate::{install, project, sh};
use anyhow::{Context, Result, bail, ensure};
use program::Tree;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of everything here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes that these may take at most.
const BINARY_AT_MOST: u64 = 12_000_000;
const DEB_AT_MOST: u64 = 5_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it all goes [default: target/packages, and of arm64 target/packages-arm64]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What it is for
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Arch,
    /// Build nothing but the program, and hold its size
    #[arg(long, conflicts_with_all = ["out", "check", "test"])]
    program: bool,
    /// Build it once more, in another folder, and fail where a byte differs
    #[arg(long)]
    check: bool,
    /// Try it: install, run, remove and trace, in a fresh Debian root and in Podman
    #[arg(long)]
    test: bool,
    /// Take what was made last, and only try it
    #[arg(long, requires = "test", conflicts_with = "check")]
    no_build: bool,
}

/// What is made, each a file of one folder.
#[derive(Clone, Debug)]
struct Artefacts {
    folder: PathBuf,
    arch: Arch,
}

impl Artefacts {
    /// The program by itself.
    fn binary(&self) -> PathBuf {
        self.folder.join(format!("{}-linux", self.stem()))
    }

    /// The program with pages, completions and a unit, for those who have no packages.
    fn archive(&self) -> PathBuf {
        self.folder.join(format!("{}-linux.tar.gz", self.stem()))
    }

    fn deb(&self) -> PathBuf {
        self.folder.join(format!("twtrace_{VERSION}-1_{}.deb", self.arch.debian()))
    }

    fn rpm(&self) -> PathBuf {
        self.folder.join(format!("twtrace-{VERSION}-1.{}.rpm", self.arch.machine()))
    }

    /// The image of a container, as an OCI archive.
    fn image(&self) -> PathBuf {
        self.folder.join(format!("{}-oci.tar", self.stem()))
    }

    /// What the program is made of (CycloneDX).
    fn bill(&self) -> PathBuf {
        self.folder.join(format!("{}.cdx.json", self.stem()))
    }

    /// SHA-256 of all others.
    fn sums(&self) -> PathBuf {
        self.folder.join("SHA256SUMS")
    }

    /// All but the sums.
    fn all(&self) -> [PathBuf; 6] {
        [self.archive(), self.bill(), self.binary(), self.deb(), self.image(), self.rpm()]
    }

    fn stem(&self) -> String {
        format!("twtrace-{VERSION}-{}", self.arch.machine())
    }
}

/// One making of all: from where, to where, and the time that everything in it bears.
struct Job {
    tree: Tree,
    made: Artefacts,
    /// Seconds since 1970.
    epoch: u64,
}

impl Job {
    /// Where parts lie while they are put together: cargo-deb and cargo-generate-rpm look beside the program.
    fn work(&self) -> PathBuf {
        self.tree.built().join("parts")
    }

    /// A program that bears our time and not the clock's, in our tree.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.tree.root).env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        command.env("CARGO_TARGET_DIR", &self.tree.target_dir).env("LC_ALL", "C").env("TZ", "UTC");
        command
    }

    /// Makes everything.
    ///
    /// # Errors
    /// Where a part cannot be made.
    fn make(&self) -> Result<()> {
        let program = program::build(&self.tree)?;
        stage::fresh(&self.made.folder)?;
        stage::write(self)?;
        stage::copy(&program, &self.made.binary(), 0o755)?;
        packages::archive(self)?;
        packages::deb(self)?;
        packages::rpm(self)?;
        libraries::bill(self)?;
        packages::image(self)?;
        packages::sums(&self.made)
    }
}

/// Runs the command.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.program {
        return program(args.arch);
    }
    let folder = args.out.clone().unwrap_or_else(|| match args.arch {
        Arch::Amd64 => project::target_dir().join("packages"),
        Arch::Arm64 => project::target_dir().join("packages-arm64"),
    });
    let made = Artefacts { folder: std::path::absolute(folder)?, arch: args.arch };
    let tree = Tree::this(args.arch);
    install::for_dist(args.test)?;
    if !args.no_build {
        let job = Job { epoch: epoch(&tree)?, tree, made: made.clone() };
        job.make()?;
        say(&job.made)?;
        if args.check {
            again::check(&job)?;
        }
        is_small(&made)?;
    }
    if args.test { trial::run(&made) } else { Ok(()) }
}

/// Builds nothing but the program, as packages have it.
///
/// # Errors
/// Where cargo fails, or it is larger than it may be.
fn program(arch: Arch) -> Result<()> {
    let program = program::build(&Tree::this(arch))?;
    fits(&program, BINARY_AT_MOST)?;
    println!("{} has {} bytes", program.display(), size(&program)?);
    Ok(())
}

/// Where the packages' program is once `cargo xtask dist --program` has built it.
pub(crate) fn built_program() -> PathBuf {
    Tree::this(Arch::Amd64).program()
}

/// `SOURCE_DATE_EPOCH`, else the time of the commit.
fn epoch(tree: &Tree) -> Result<u64> {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let of_commit =
        || sh::read(Command::new("git").arg("-C").arg(&tree.root).args(["log", "-1", "--format=%ct"]));
    let text = match given {
        Some(text) => text,
        None => of_commit()
            .context("set SOURCE_DATE_EPOCH to the seconds since 1970 that all files shall bear")?,
    };
    text.trim()
        .parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH or git: '{text}' are no seconds since 1970"))
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
}

/// Sizes, and how long the program takes to say its version.
fn say(made: &Artefacts) -> Result<()> {
    println!("in {}:", made.folder.display());
    for path in made.all().iter().chain([&made.sums()]) {
        println!("{:>10} bytes  {}", size(path)?, name(path));
    }
    if !made.arch.is_own() {
        return Ok(());
    }
    let [ours, least] = start_up(&made.binary())?;
    println!(
        "twtrace --version: {:.1} ms at best, {:.1} ms in the median of {STARTS}; /bin/true beside it: {:.1} ms and {:.1} ms",
        ours.0, ours.1, least.0, least.1
    );
    Ok(())
}

/// Nothing is larger than it may be.
fn is_small(made: &Artefacts) -> Result<()> {
    fits(&made.binary(), BINARY_AT_MOST)?;
    fits(&made.deb(), DEB_AT_MOST)
}

fn fits(path: &Path, most: u64) -> Result<()> {
    let bytes = size(path)?;
    ensure!(bytes <= most, "{} has {bytes} bytes, more than {most}", name(path));
    Ok(())
}

/// How often the program is started to see how long that takes.
const STARTS: usize = 101;

/// Milliseconds from starting a program to having read what it says: the least, and the median. Of ours and, in turn with it, of one
/// that does nothing: on a busy machine both wait, and the difference is what ours takes.
fn start_up(binary: &Path) -> Result<[(f64, f64); 2]> {
    let mut took = [Vec::with_capacity(STARTS), Vec::with_capacity(STARTS)];
    for _ in 0..STARTS {
        for (program, took) in [binary, Path::new("/bin/true")].into_iter().zip(&mut took) {
            let begun = std::time::Instant::now();
            let said = sh::read(Command::new(program).args((program == binary).then_some("--version")))?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            if program == binary && said != format!("twtrace {VERSION}\n") {
                bail!("{} --version says {said:?}", binary.display());
            }
        }
    }
    Ok(took.map(|mut took| {
        took.sort_by(f64::total_cmp);
        (took[0], took[STARTS / 2])
    }))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
