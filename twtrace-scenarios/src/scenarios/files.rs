//! Owns: the scenario of a shared folder in which strangers took names before us.
//! Must not know: the harness, what is in a recording.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;
use twtrace_kit::Cannot;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::sandbox::Sandbox;
use crate::tracer::Setup;

/// nobody.
const STRANGER: u32 = 65534;

const PRECIOUS: &str = "root's own\n";

/// A folder such as /tmp, with root's file in a folder beside it.
struct Shared {
    dir: TempDir,
    setup: Setup,
}

impl Shared {
    fn new(setup: &Setup) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        fs::create_dir(dir.path().join("tmp"))?;
        fs::set_permissions(dir.path().join("tmp"), Permissions::from_mode(0o1777))?;
        fs::write(dir.path().join("precious"), PRECIOUS)?;
        Ok(Self { dir, setup: setup.clone() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("tmp").join(name)
    }

    /// A stranger's link to root's file.
    fn link(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        symlink(self.dir.path().join("precious"), &path)?;
        lchown(&path, Some(STRANGER), Some(STRANGER))?;
        Ok(path)
    }

    /// A stranger's FIFO, and whoever reads it.
    fn fifo(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.path(name);
        mkfifo(&path, Mode::from_bits_truncate(0o666))?;
        chown(&path, Some(STRANGER), Some(STRANGER))?;
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        Ok((path, reader))
    }

    /// Runs twtrace with words, of which `@` is the file.
    fn run(&self, words: &str, file: &Path) -> Result<Output> {
        let mut command = Command::new(&self.setup.twtrace);
        let argument = |word: &str| if word == "@" { file.into() } else { word.into() };
        command.args(words.split(' ').map(argument).collect::<Vec<std::ffi::OsString>>());
        let output = command.output().context("starting twtrace")?;
        if output.status.code() == Some(77) {
            return Err(Cannot(String::from_utf8_lossy(&output.stderr).into_owned()).into());
        }
        Ok(output)
    }

    fn record(&self, words: &str, file: &Path) -> Result<Output> {
        self.run(&format!("record --backend {} {words}", self.setup.backend), file)
    }

    fn is_untouched(&self) -> Result<()> {
        let now = fs::read_to_string(self.dir.path().join("precious"))?;
        ensure!(
            now == PRECIOUS,
            "root's file behind a stranger's link holds {:?}",
            now.get(..40).unwrap_or(&now)
        );
        Ok(())
    }
}

fn refused(output: &Output, word: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "not refused, {}: {said}", output.status);
    ensure!(said.contains(word) && said.contains("remedy"), "refused without {word:?} and a remedy: {said}");
    Ok(())
}

/// It worked, and the name is a file of root's own now.
fn is_ours(output: &Output, file: &Path) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed, {}: {said}", output.status);
    let found = fs::symlink_metadata(file)?;
    ensure!(found.is_file() && found.uid() == 0, "{} is no file of root's: {found:?}", file.display());
    ensure!(found.mode() & 0o7777 == 0o600, "{} has the mode {:o}", file.display(), found.mode());
    Ok(())
}

/// Whatever a stranger put where root is to write is neither followed nor fed nor emptied.
pub(super) fn of_strangers(sandbox: &mut Sandbox) -> Result<()> {
    let shared = Shared::new(&sandbox.setup)?;
    let (fifo, mut reader) = shared.fifo("fifo")?;
    refused(&shared.record("-o @ -- true", &fifo)?, "FIFO")?;
    let mut fed = Vec::new();
    // A writer that has closed is the end; no writer ever is as well.
    reader.read_to_end(&mut fed)?;
    ensure!(fed.is_empty(), "a stranger's FIFO got {} bytes of root's recording", fed.len());

    let link = shared.link("link")?;
    refused(&shared.record("-o @ -- true", &link)?, "link")?;
    let ready = format!("-o {} --ready-file @ -- true", shared.path("not-begun").display());
    refused(&shared.record(&ready, &link)?, "link")?;
    shared.is_untouched()?;
    // A dataset has files where there are events.
    let own = std::env::current_exe()?;
    is_ours(&shared.record(&format!("-o @ --force -- {} make 3 0", own.display()), &link)?, &link)?;
    sandbox.balanced();
    shared.is_untouched()?;
    for (name, words) in [("page", "--html @ --force"), ("csv", "--to csv -o @ --force")] {
        let file = shared.link(name)?;
        let command = if name == "page" { "report" } else { "export" };
        is_ours(&shared.run(&format!("{command} {} {words}", link.display()), &file)?, &file)?;
        shared.is_untouched()?;
    }
    dataset(&shared, &link)?;
    rotation(&shared)
}

/// A dataset's folder, or one in it, is a link to a folder of root's: nothing is put there.
fn dataset(shared: &Shared, recording: &Path) -> Result<()> {
    let roots = shared.dir.path().join("roots");
    fs::create_dir(&roots)?;
    // A folder of our own says what the one in it is called.
    let own = shared.dir.path().join("own");
    let words = format!("export {} --to parquet --partition host -o @", recording.display());
    let made = shared.run(&words, &own)?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let host = fs::read_dir(&own)?.next().context("no folder of a host")??.file_name();
    let folder = shared.path("dataset");
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o777))?;
    let inner = folder.join(host);
    let outer = shared.path("outer");
    for link in [&outer, &inner] {
        symlink(&roots, link)?;
        lchown(link, Some(STRANGER), Some(STRANGER))?;
    }
    for output in [&outer, &folder] {
        refused(&shared.run(&words, output)?, "link")?;
        let count = fs::read_dir(&roots)?.count();
        ensure!(count == 0, "{count} files went through a stranger's link to a folder of root's");
    }
    Ok(())
}

/// The name of the second part is taken before it begins: recording goes on in the third.
fn rotation(shared: &Shared) -> Result<()> {
    let begun = shared.path("load.0.twt");
    let after = shared.path("load.2.twt");
    let file = shared.path("load.twt");
    let taker = std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            until_true("the first part", PATIENCE, || Ok(begun.exists()))?;
            shared.link("load.1.twt")
        });
        let recorded = shared.record("-o @ --rotate-every 1s --duration 4s", &file);
        (taker.join(), recorded)
    });
    let (Ok(taken), recorded) = taker else { anyhow::bail!("the stranger panicked") };
    taken?;
    is_ours(&recorded?, &after)?;
    shared.is_untouched()?;
    let export = shared.run("export @ --to jsonl -o -", &after)?;
    let said = String::from_utf8_lossy(&export.stderr);
    ensure!(export.status.success() && !said.contains("missing"), "the part after it does not read: {said}");
    Ok(())
}
