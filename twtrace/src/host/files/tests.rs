//! Owns: what must hold of files that are made where strangers were before us.
//! Must not know: who writes them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use nix::unistd::mkfifo;

use super::*;

/// A folder that anyone can write to, as /tmp is, and what is in it.
struct Shared {
    dir: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self) -> Folder {
        Folder::of(&self.path("x"), None).unwrap().0
    }

    /// As it is for somebody to whom we are a stranger.
    fn of_strangers(&self) -> Folder {
        Folder { trusted: Vec::new(), ..self.folder() }
    }
}

fn find(folder: &Folder, name: &str) -> Existing {
    folder.find(OsStr::new(name)).unwrap()
}

fn taken(folder: &Folder, name: &str) -> Taken {
    match find(folder, name) {
        Existing::Taken(taken) => taken,
        other => panic!("{name}: {other:?}"),
    }
}

/// A FIFO with a reader.
fn fifo(path: &Path) -> File {
    mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap();
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

#[test]
fn a_path_without_a_name_and_a_folder_that_is_missing_are_errors() {
    for path in ["/", "..", "a/", "/no/such/folder/a"] {
        assert!(Folder::of(Path::new(path), None).is_err(), "{path}");
    }
    assert_eq!(Folder::of(Path::new("a"), None).unwrap().1, "a");
}

#[test]
fn what_is_there_is_told_apart() {
    let shared = Shared::new();
    fs::write(shared.path("file"), "x").unwrap();
    fs::create_dir(shared.path("dir")).unwrap();
    symlink("file", shared.path("to-file")).unwrap();
    symlink("nowhere", shared.path("to-nothing")).unwrap();
    symlink("loop", shared.path("loop")).unwrap();
    symlink("dir", shared.path("to-dir")).unwrap();
    symlink("/dev/null", shared.path("to-null")).unwrap();
    let folder = shared.folder();
    assert!(matches!(find(&folder, "none"), Existing::Nothing));
    assert_eq!(taken(&folder, "file"), Taken::File);
    for link in ["to-file", "to-nothing", "loop"] {
        assert_eq!(taken(&folder, link), Taken::Link, "{link}");
    }
    assert!(matches!(find(&folder, "dir"), Existing::NoFile));
    assert!(matches!(find(&folder, "to-dir"), Existing::NoFile));
    assert!(matches!(find(&folder, "to-null"), Existing::Stream(_)));
}

#[test]
fn a_fifo_of_ours_is_fed_and_a_strangers_is_not() {
    let shared = Shared::new();
    let mut reader = fifo(&shared.path("fifo"));
    symlink("fifo", shared.path("link")).unwrap();
    let us = Uid::effective();
    for name in ["fifo", "link"] {
        let Existing::Stream(mut file) = find(&shared.folder(), name) else { panic!("{name}") };
        file.write_all(b"abc").unwrap();
        drop(file);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "abc");
    }
    assert_eq!(taken(&shared.of_strangers(), "fifo"), Taken::StreamOf(us));
    assert_eq!(taken(&shared.of_strangers(), "link"), Taken::LinkOf(us));
}

#[test]
fn a_file_is_made_new_or_not_at_all() {
    let shared = Shared::new();
    fs::write(shared.path("target"), "precious").unwrap();
    symlink("target", shared.path("link")).unwrap();
    symlink("not-yet", shared.path("writable")).unwrap();
    let _reader = fifo(&shared.path("fifo"));
    let folder = shared.folder();
    for name in ["target", "link", "writable", "fifo"] {
        let error = folder.make(OsStr::new(name), 0o600, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert!(!shared.path("not-yet").exists());
    let (mut file, id, beside) = folder.make_beside(OsStr::new("link"), 0o600, None).unwrap();
    file.write_all(b"new").unwrap();
    folder.rename(&beside, OsStr::new("link")).unwrap();
    assert_eq!(fs::read(shared.path("target")).unwrap(), b"precious");
    assert_eq!(fs::read(shared.path("link")).unwrap(), b"new");
    assert_eq!(fs::symlink_metadata(shared.path("link")).unwrap().permissions().mode() & 0o7777, 0o600);
    // Nothing but what is ours is removed.
    folder.remove_own(OsStr::new("target"), id);
    assert!(shared.path("target").exists());
    folder.remove_own(OsStr::new("link"), id);
    assert!(!shared.path("link").exists());
}

#[test]
fn a_folder_that_is_exchanged_for_a_link_stays_the_one_that_was_opened() {
    let shared = Shared::new();
    for name in ["ours", "other"] {
        fs::create_dir(shared.path(name)).unwrap();
    }
    let (folder, name) = Folder::of(&shared.path("ours/a"), None).unwrap();
    fs::rename(shared.path("ours"), shared.path("moved")).unwrap();
    symlink("other", shared.path("ours")).unwrap();
    folder.make(&name, 0o600, None).unwrap();
    assert!(shared.path("moved/a").exists() && !shared.path("other/a").exists());
    assert_eq!(folder.names().unwrap().iter().filter(|name| !name.as_bytes().starts_with(b".")).count(), 1);
}

#[test]
fn a_folder_is_made_or_entered_and_a_strangers_link_is_not_followed() {
    let shared = Shared::new();
    let name = OsStr::new("a");
    let inside = Folder::at(&shared.path("ds/deep"), None).unwrap().enter(name, None).unwrap();
    inside.make(OsStr::new("file"), 0o600, None).unwrap();
    assert!(shared.path("ds/deep/a/file").is_file());
    // What is there is entered, by a link of ours as well.
    symlink("ds", shared.path("ours")).unwrap();
    for path in ["ds/deep", "ours/deep", "ds/deep/a/.."] {
        let entered = Folder::at(&shared.path(path), None).unwrap().enter(name, None).unwrap();
        assert!(entered.own(OsStr::new("file")).is_some(), "{path}");
    }
    let linked = shared.folder().enter(OsStr::new("ours"), None).unwrap();
    linked.make(OsStr::new("by-link"), 0o600, None).unwrap();
    assert!(shared.path("ds/by-link").is_file());
    let refused = shared.of_strangers().enter(OsStr::new("ours"), None).unwrap_err().to_string();
    assert!(refused.contains("link of user") && refused.contains("not followed"), "{refused}");
    fs::write(shared.path("file"), "").unwrap();
    let _reader = fifo(&shared.path("fifo"));
    for name in ["file", "fifo"] {
        let error = shared.folder().enter(OsStr::new(name), None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{name}");
    }
}

#[test]
fn a_private_folder_that_is_new_is_its_owners_alone() {
    let shared = Shared::new();
    let told = |name: &str| {
        let about = fs::metadata(shared.path(name)).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o7777)
    };
    let ours = (Uid::effective().as_raw(), Gid::effective().as_raw());
    // Root alone can give things away.
    let (uid, gid) = if ours.0 == 0 { (65_534, 65_533) } else { ours };
    let private =
        |name: &str| Folder::private(&shared.path(name), Some((Uid::from_raw(uid), Gid::from_raw(gid))));
    private("new").unwrap().make(OsStr::new("file"), 0o600, None).unwrap();
    private("slash/").unwrap();
    for name in ["new", "slash"] {
        assert_eq!(told(name), (uid, gid, 0o700), "{name}");
    }
    // What is there already stays as it is.
    fs::create_dir(shared.path("old")).unwrap();
    fs::set_permissions(shared.path("old"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("old", shared.path("link")).unwrap();
    for name in ["old", "link", "new/.."] {
        private(name).unwrap();
    }
    assert_eq!(told("old"), (ours.0, ours.1, 0o750));
    assert_eq!(private("none/new").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(Folder::private(Path::new("."), None).is_ok() && Folder::private(Path::new("/"), None).is_ok());
}

#[test]
fn a_name_that_is_as_long_as_names_may_be_can_be_replaced() {
    let shared = Shared::new();
    let long = "x".repeat(255);
    fs::write(shared.path(&long), "old").unwrap();
    let (_, _, beside) = shared.folder().make_beside(OsStr::new(&long), 0o600, None).unwrap();
    shared.folder().rename(&beside, OsStr::new(&long)).unwrap();
    assert_eq!(fs::read(shared.path(&long)).unwrap(), b"");
}

#[test]
fn a_ready_file_replaces_only_one_that_an_earlier_run_left() {
    let shared = Shared::new();
    let path = shared.path("ready");
    fs::write(&path, "").unwrap();
    let ready = ReadyFile::claim(&path).unwrap();
    assert!(!path.exists(), "whoever waits for it would begin too early");
    ready.make().unwrap();
    assert!(path.exists());
    fs::write(shared.path("precious"), "precious").unwrap();
    symlink("precious", shared.path("link")).unwrap();
    symlink("nowhere", shared.path("writable")).unwrap();
    let _reader = fifo(&shared.path("fifo"));
    for name in ["precious", "link", "writable", "fifo"] {
        let said = ReadyFile::claim(&shared.path(name)).unwrap_err().to_string();
        assert!(said.contains("it exists") && said.contains("remedy"), "{name}: {said}");
    }
    assert_eq!(fs::read(shared.path("precious")).unwrap(), b"precious");
    // Taken between the claim and the moment.
    let ready = ReadyFile::claim(&shared.path("late")).unwrap();
    symlink("precious", shared.path("late")).unwrap();
    assert!(ready.make().is_err());
    assert_eq!(fs::read(shared.path("precious")).unwrap(), b"precious");
}
