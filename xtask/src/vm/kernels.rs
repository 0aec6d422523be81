//! The kernels to test on: the newest of each of Debian's series, from the mirror that this machine's apt is set up with, whose own
//! lists and cache are not touched.
//!
//! Owns: the suites, a private apt configuration under target/vm/apt, the unpacked packages under target/vm/kernels.
//! Must not know: what is done with a kernel.

use super::mirror::Mirror;
use super::version;
use crate::arch::Arch;
use crate::{project, sh};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A Debian suite, and the series of kernels that it is asked for.
struct Suite {
    series: &'static str,
    name: &'static str,
    /// Where its newer kernels are.
    security: Option<&'static str>,
}

const SUITES: [Suite; 4] = [
    Suite { series: "5.10", name: "bullseye", security: Some("bullseye-security") },
    Suite { series: "6.1", name: "bookworm", security: Some("bookworm-security") },
    Suite { series: "6.12", name: "trixie", security: Some("trixie-security") },
    Suite { series: "7.x", name: "trixie-backports", security: None },
];

/// Fewer kernels than this, and the matrix says too little.
pub(super) const ENOUGH: usize = 3;

/// Package lists younger than this are used as they are.
const LISTS_STAY_FRESH: Duration = Duration::from_secs(6 * 3600);

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What it was asked for by: `5.10`, `7.x`, or a version.
    pub(crate) label: String,
    /// What it runs on.
    pub(crate) arch: Arch,
    /// Debian's version, such as `6.1.0-56`.
    pub(crate) version: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// Where its modules are, where it came with any.
    pub(super) modules: Option<PathBuf>,
}

/// Series that are booted on arm64: the oldest that the object's barriers need (5.18) in Debian, without fentry there, and one with it.
const ON_ARM64: [&str; 2] = ["6.1", "6.12"];

/// The kernels asked for, all series of the architecture where none is. One that cannot be had is named on stderr.
///
/// # Errors
/// Where less than three of four series, or not all of those asked for, can be had.
pub(super) fn get(wanted: &[String], arch: Arch) -> Result<Vec<Kernel>> {
    let (all, enough): (Vec<String>, usize) = match arch {
        Arch::Amd64 => (SUITES.iter().map(|suite| suite.series.to_owned()).collect(), ENOUGH),
        Arch::Arm64 => (ON_ARM64.map(str::to_owned).to_vec(), ON_ARM64.len()),
    };
    let (labels, enough) = if wanted.is_empty() { (&all[..], enough) } else { (wanted, wanted.len()) };
    let mut kernels = Vec::new();
    for label in labels {
        match get_one(label, arch) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => eprintln!("vm: no kernel {label}: {error:#}"),
        }
    }
    if kernels.len() < enough {
        bail!(
            "{} kernels could be had, {enough} are needed; is the mirror that apt is set up with in reach?",
            kernels.len()
        );
    }
    Ok(kernels)
}

fn get_one(label: &str, arch: Arch) -> Result<Kernel> {
    let suites: Vec<&Suite> = match SUITES.iter().find(|suite| suite.series == label) {
        Some(suite) => vec![suite],
        None => SUITES.iter().collect(),
    };
    let mut problems = Vec::new();
    for suite in suites {
        match from_suite(suite, label, arch) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => problems.push(format!("{}: {error:#}", suite.name)),
        }
    }
    let kept = std::fs::read_dir(kernels_dir(arch)).into_iter().flatten().flatten();
    let kept = kept.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let newest = version::newest(kept.filter(|name| version::belongs(name, label)))
        .ok_or_else(|| anyhow!("{}", problems.join("; ")))?;
    eprintln!("vm: kernel {label}: using {newest} from an earlier run ({})", problems.join("; "));
    unpacked(label, &newest, arch)
}

fn from_suite(suite: &Suite, label: &str, arch: Arch) -> Result<Kernel> {
    let apt = Apt::new(suite, arch)?;
    let pattern = format!("^linux-.*-cloud-{}$", arch.debian());
    let names = sh::read(apt.command("apt-cache").args(["search", "--names-only", &pattern]))?;
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let (version, packages) = version::pick(&names, label, arch)
        .ok_or_else(|| anyhow!("it has no cloud kernel of series {label}"))?;
    let dir = kernels_dir(arch).join(&version);
    if !dir.exists() {
        apt.unpack(&dir, &["download"], &packages)?;
    }
    unpacked(label, &version, arch)
}

/// The programs that scenarios call, with all that these need, as files of the architecture: where they are unpacked.
///
/// # Errors
/// Where they cannot be had.
pub(super) fn tools(arch: Arch) -> Result<PathBuf> {
    let dir = project::target_dir().join("vm/tools").join(arch.debian());
    if !dir.exists() {
        let install = ["install", "--download-only", "--yes", "--no-install-recommends"];
        let suite = SUITES.iter().find(|suite| suite.name == "bookworm").context("bookworm")?;
        Apt::new(suite, arch)?.unpack(
            &dir,
            &install,
            &["iproute2", "dash", "coreutils"].map(str::to_owned),
        )?;
    }
    Ok(dir)
}

fn kernels_dir(arch: Arch) -> PathBuf {
    let dir = project::target_dir().join("vm/kernels");
    match arch {
        Arch::Amd64 => dir,
        Arch::Arm64 => dir.join("arm64"),
    }
}

/// Finds the parts of a kernel that lies under target/vm/kernels.
fn unpacked(label: &str, version: &str, arch: Arch) -> Result<Kernel> {
    let dir = kernels_dir(arch).join(version);
    let release = format!("{version}-cloud-{}", arch.debian());
    let modules = [dir.join("usr/lib/modules").join(&release), dir.join("lib/modules").join(&release)];
    let image = [dir.join(format!("boot/vmlinuz-{release}"))]
        .into_iter()
        .chain(modules.iter().map(|folder| folder.join("vmlinuz")))
        .find(|path| path.is_file())
        .ok_or_else(|| anyhow!("{} holds no vmlinuz; delete it to fetch it again", dir.display()))?;
    Ok(Kernel {
        label: label.to_owned(),
        arch,
        version: version.to_owned(),
        image,
        modules: modules.into_iter().find(|path| path.join("kernel").is_dir()),
    })
}

/// apt with its own sources, lists and cache.
struct Apt {
    dir: PathBuf,
    arch: Arch,
}

impl Apt {
    fn new(suite: &Suite, arch: Arch) -> Result<Apt> {
        let dir = match arch {
            Arch::Amd64 => project::target_dir().join("vm/apt"),
            Arch::Arm64 => project::target_dir().join("vm/apt/arm64"),
        };
        let apt = Apt { dir: dir.join(suite.name), arch };
        for folder in ["lists/partial", "cache/archives/partial"] {
            let path = apt.dir.join(folder);
            std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let candidates = Mirror::of_this_machine()?.candidates(suite.name, suite.security, arch);
        let stamp = apt.dir.join("updated");
        let served = std::fs::read_to_string(apt.sources()).is_ok_and(|now| candidates.contains(&now));
        if served && is_fresh(&stamp) {
            return Ok(apt);
        }
        let mut problems = Vec::new();
        for candidate in candidates {
            std::fs::write(apt.sources(), candidate)?;
            // With `any`, a list that could not be fetched is an error and not a remark.
            let update = ["update", "--quiet", "-o", "APT::Update::Error-Mode=any"];
            match sh::read(apt.command("apt-get").args(update)) {
                Ok(_) => {
                    std::fs::write(&stamp, "")?;
                    return Ok(apt);
                }
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        bail!("no archive among this machine's apt sources served {}: {}", suite.name, problems.join("; "))
    }

    /// Its file of sources; the end of the name tells apt their format.
    fn sources(&self) -> PathBuf {
        self.dir.join("mirror.sources")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::Etc::sourcelist", self.sources()),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::lists", self.dir.join("lists")),
            ("Dir::Cache", self.dir.join("cache")),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "3".into()),
            ("APT::Sandbox::User", "".into()),
            ("APT::Architecture", self.arch.debian().into()),
            ("APT::Architectures", self.arch.debian().into()),
            // What is installed on this machine is not in a guest.
            ("Dir::State::status", "/dev/null".into()),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        command
    }

    /// Downloads packages (apt checks their hashes) and unpacks them into one folder, which appears when it is whole.
    fn unpack(&self, dir: &Path, how: &[&str], packages: &[String]) -> Result<()> {
        let parent = dir.parent().context("a folder has a parent")?;
        std::fs::create_dir_all(parent)?;
        let work = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent)?;
        eprintln!("vm: fetching {}", packages.join(" "));
        let (root, archives) = (work.path().join("root"), work.path().join("archives"));
        std::fs::create_dir_all(archives.join("partial"))?;
        let mut get = self.command("apt-get");
        get.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display())).arg("-oDebug::NoLocking=1");
        sh::read(get.arg("--quiet").args(how).args(packages).current_dir(&archives))?;
        for entry in std::fs::read_dir(&archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "deb") {
                sh::read(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
            }
        }
        std::fs::rename(&root, dir).with_context(|| dir.display().to_string())
    }
}

fn is_fresh(stamp: &Path) -> bool {
    let modified = std::fs::metadata(stamp).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < LISTS_STAY_FRESH))
}
