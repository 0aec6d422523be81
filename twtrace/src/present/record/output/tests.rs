//! Owns: what must hold of the files of a recording.
//! Must not know: what is in them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use std::path::Path;
use std::sync::mpsc;

use super::*;

fn destination(path: &Path, force: bool) -> Destination {
    Destination { path: path.to_owned(), force, rotation: Rotation::default(), owner: None }
}

fn rotated(path: &Path, keep: Option<u64>) -> Destination {
    let rotation = Rotation { size: Some(7), keep, ..Rotation::default() };
    Destination { rotation, ..destination(path, false) }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

fn refused(destination: Destination) -> String {
    Output::open(destination).err().map(|error| error.to_string()).unwrap_or_default()
}

/// Until all that was handed over is written, and done.
fn settled(output: &Output) {
    output.writer().settle(Instant::now() + Duration::from_secs(60));
    assert!(output.writer().is_idle());
}

impl Output {
    /// Hands over a copy, and waits for it.
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(&mut bytes.to_vec())?;
        settled(self);
        self.writer().error().map_or(Ok(()), Err)
    }

    /// Goes on, and has what every part begins with: nothing.
    fn go_on_bare(&mut self) {
        self.go_on().unwrap();
        self.head_ends().unwrap();
        settled(self);
    }
}

#[test]
fn a_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let mut output = Output::open(destination(&path, false)).unwrap();
    output.begin().unwrap();
    let mut bytes = b"abc".to_vec();
    output.write(&mut bytes).unwrap();
    settled(&output);
    assert_eq!((bytes.len(), output.total(), output.given()), (0, 3, 3));
    drop(output);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    fs::write(&path, "old").unwrap();
    let said = refused(destination(&path, false));
    assert!(said.contains("a.twt") && said.contains("--force"), "{said}");
    // Tracing does not begin: the old one is as it was, and nothing else is there.
    drop(Output::open(destination(&path, true)).unwrap());
    assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"old".to_vec(), vec!["a.twt".to_owned()]));
    let mut output = Output::open(destination(&path, true)).unwrap();
    output.begin().unwrap();
    output.write_bytes(b"new").unwrap();
    assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"new".to_vec(), vec!["a.twt".to_owned()]));
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = (dir.path().join("a.twt"), dir.path().join("precious"));
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    assert!(refused(destination(&path, false)).contains("exists"));
    let mut output = Output::open(destination(&path, true)).unwrap();
    output.begin().unwrap();
    output.write_bytes(b"new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    // One that leads nowhere is there as well.
    let writable = dir.path().join("writable");
    symlink("/no/such", &writable).unwrap();
    assert!(refused(destination(&writable, false)).contains("exists"));
}

#[test]
fn bad_destinations_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none/a.twt");
    for (path, word) in [(missing.as_path(), "none/a.twt"), (dir.path(), "no file")] {
        for force in [false, true] {
            let said = refused(destination(path, force));
            assert!(said.contains(word), "{said}");
        }
    }
}

#[test]
fn a_recording_that_never_began_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    drop(Output::open(destination(&dir.path().join("a"), false)).unwrap());
    let mut output = Output::open(rotated(&dir.path().join("b.twt"), None)).unwrap();
    output.begin().unwrap();
    output.discard();
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[test]
fn a_full_disk_is_said_with_the_name_of_the_file() {
    let mut output = Output::open(destination(Path::new("/dev/full"), false)).unwrap();
    output.begin().unwrap();
    let error = output.write_bytes(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("/dev/full"), "{error}");
    output.discard();
    assert!(Path::new("/dev/full").exists());
}

#[test]
fn a_file_that_is_discarded_leaves_its_name_to_the_next_and_those_before_alone() {
    let dir = tempfile::tempdir().unwrap();
    let resumed = || {
        let mut destination = rotated(&dir.path().join("a.twt"), Some(3));
        destination.rotation.resumes = true;
        destination
    };
    let mut first = Output::open(resumed()).unwrap();
    first.begin().unwrap();
    for _ in 0..3 {
        let mut output = Output::open(resumed()).unwrap();
        output.begin().unwrap();
        assert_eq!(names(dir.path()), ["a.0.twt", "a.1.twt"]);
        output.discard();
        assert_eq!(names(dir.path()), ["a.0.twt"]);
        drop(output);
        assert_eq!(names(dir.path()), ["a.0.twt"]);
    }
}

#[test]
fn files_of_a_rotated_recording_are_numbered_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("load.twt");
    let mut output = Output::open(rotated(&path, Some(2))).unwrap();
    output.begin().unwrap();
    for part in 0..13_u64 {
        assert!(!output.is_full());
        output.write_bytes(b"1234567").unwrap();
        assert_eq!((output.is_full(), output.part()), (true, part));
        output.go_on_bare();
    }
    assert_eq!(names(dir.path()), ["load.12.twt", "load.13.twt"]);
    assert_eq!(output.total(), 91);
    drop(output);
    // A second recording would mix with them, whichever of them are left.
    assert!(refused(rotated(&path, None)).contains("exists"));
    fs::write(dir.path().join("load.x.twt"), "").unwrap();
    fs::write(dir.path().join("load.3.csv"), "").unwrap();
    let mut output = Output::open(Destination { force: true, ..rotated(&path, None) }).unwrap();
    output.begin().unwrap();
    assert_eq!(names(dir.path()), ["load.0.twt", "load.3.csv", "load.x.twt"]);
}

#[test]
fn names_without_an_extension_are_numbered_too() {
    let dir = tempfile::tempdir().unwrap();
    for (name, want) in [("load", "load.0"), (".load", ".load.0"), ("a.b.twt", "a.b.0.twt")] {
        let mut output = Output::open(rotated(&dir.path().join(name), None)).unwrap();
        output.begin().unwrap();
        assert!(dir.path().join(want).exists(), "{name}: {:?}", names(dir.path()));
    }
}

#[test]
fn a_name_that_a_stranger_took_is_passed_over_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("load.twt");
    let mut output = Output::open(rotated(&path, Some(2))).unwrap();
    output.begin().unwrap();
    fs::write(dir.path().join("precious"), "precious").unwrap();
    for number in (1..=31).chain(33..=40) {
        symlink("precious", dir.path().join(format!("load.{number}.twt"))).unwrap();
    }
    symlink("precious", dir.path().join(format!("load.{}.twt", u64::MAX))).unwrap();
    for (part, number) in [(1, 32), (2, 41), (3, 42)] {
        output.write_bytes(b"1234567").unwrap();
        output.go_on_bare();
        assert_eq!(output.part(), part);
        assert!(output.shown().ends_with(&format!("load.{number}.twt")), "{}", output.shown());
    }
    output.write_bytes(b"last").unwrap();
    drop(output);
    assert_eq!(fs::read(dir.path().join("precious")).unwrap(), b"precious");
    let files: Vec<String> = names(dir.path())
        .into_iter()
        .filter(|name| fs::symlink_metadata(dir.path().join(name)).unwrap().is_file())
        .collect();
    assert_eq!(files, ["load.41.twt", "load.42.twt", "precious"]);
}

#[test]
fn a_run_that_goes_on_keeps_what_the_one_before_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let going_on = || {
        let rotation = Rotation { size: Some(7), keep: Some(3), resumes: true, ..Rotation::default() };
        Destination { rotation, ..destination(&path, false) }
    };
    for (number, mut want) in [(0, vec![0]), (1, vec![0, 1]), (2, vec![0, 1, 2]), (3, vec![1, 2, 3])] {
        let mut output = Output::open(going_on()).unwrap();
        output.begin().unwrap();
        output.write_bytes(b"abc").unwrap();
        output.head_ends().unwrap();
        settled(&output);
        assert!(
            output.is_bare() && output.shown().ends_with(&format!("a.{number}.twt")),
            "{}",
            output.shown()
        );
        let names_of = |numbers: &[u64]| numbers.iter().map(|n| format!("a.{n}.twt")).collect::<Vec<_>>();
        assert_eq!(names(dir.path()), names_of(&want));
        if number == 3 {
            output.go_on().unwrap();
            settled(&output);
            assert_eq!(
                names(dir.path()),
                names_of(&[1, 2, 3, 4]),
                "until it has its head, none is removed for it"
            );
            output.head_ends().unwrap();
            settled(&output);
            want = vec![2, 3, 4];
            assert_eq!(names(dir.path()), names_of(&want));
        }
    }
    // One of which nothing came takes nothing of others with it.
    let mut output = Output::open(going_on()).unwrap();
    output.begin().unwrap();
    output.discard();
    assert_eq!(names(dir.path()), ["a.2.twt", "a.3.twt", "a.4.twt"]);
}

#[test]
fn a_file_that_somebody_removed_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.twt");
    let mut output = Output::open(destination(&path, false)).unwrap();
    output.begin().unwrap();
    output.write_bytes(b"abc").unwrap();
    fs::remove_file(&path).unwrap();
    let error = output.write_bytes(b"def").unwrap_err().to_string();
    assert!(error.contains("a.twt: somebody removed it"), "{error}");
    assert_eq!(output.total(), 3);
}

/// The one before may not be written yet when the next begins.
#[test]
fn a_file_that_is_not_there_yet_takes_none_before_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut output = Output::open(rotated(&dir.path().join("a.twt"), None)).unwrap();
    output.begin().unwrap();
    output.head_ends().unwrap();
    output.write_bytes(b"1234567").unwrap();
    assert!(!output.is_bare());
    let full: Turn = Box::new(|_| Err(io::ErrorKind::StorageFull.into()));
    output.hand_over(Some(full), Bytes::new(), Units::None).unwrap();
    settled(&output);
    assert_eq!(output.go_on().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(output.is_torn());
    output.discard();
    assert_eq!(names(dir.path()), ["a.0.twt"]);
}

#[test]
fn what_files_take_is_known_while_the_disk_hangs() {
    let dir = tempfile::tempdir().unwrap();
    for (destination, plain) in [
        (destination(&dir.path().join("a.twt"), false), false),
        (rotated(&dir.path().join("b.twt"), None), true),
    ] {
        let mut output = Output::open(destination).unwrap();
        output.begin().unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let (hangs, hung) = mpsc::channel();
        let turn = output.turn(move |_, _| {
            let _ = hangs.send(());
            let _ = gate.recv();
            Ok(None)
        });
        output.hand_over(turn, Bytes::new(), Units::None).unwrap();
        hung.recv().unwrap();
        let (done, known) = mpsc::channel();
        let asking = std::thread::spawn(move || {
            let _ = done.send([output.needs(false).files, output.needs(true).files]);
            output
        });
        assert_eq!(known.recv_timeout(Duration::from_secs(60)), Ok([plain, true]));
        drop(go);
        asking.join().unwrap();
    }
}

/// The thread that writes may be more than one file behind.
#[test]
fn a_file_without_its_head_goes_where_later_ones_were_to_follow_it_and_one_with_its_head_stays() {
    for (has_head, want) in [(false, vec!["a.0.twt"]), (true, vec!["a.0.twt", "a.1.twt"])] {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::open(rotated(&dir.path().join("a.twt"), None)).unwrap();
        output.begin().unwrap();
        output.head_ends().unwrap();
        output.write_bytes(b"1234567").unwrap();
        let (go, gate) = mpsc::channel::<()>();
        let full: Turn = Box::new(move |_| {
            let _ = gate.recv();
            Err(io::ErrorKind::StorageFull.into())
        });
        output.go_on().unwrap();
        if has_head {
            output.head_ends().unwrap();
        }
        output.hand_over(Some(full), Bytes::new(), Units::None).unwrap();
        output.head_ends().unwrap();
        output.go_on().unwrap();
        drop(go);
        settled(&output);
        assert!(output.is_torn() && output.part() == 2);
        let said = output.failed(io::Error::other("no")).to_string();
        assert!(said.ends_with("/a.twt, part 2: no"), "the file that is written to is another one: {said}");
        output.discard();
        assert_eq!(names(dir.path()), want);
    }
}
