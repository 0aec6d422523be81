//! Owns: when a process is looked up, and what is remembered.

use super::*;
use crate::model::identity::Runtime;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

/// A `/proc` and a hierarchy of cgroups of our own. Start times are whole ticks of any usual length.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("cgroup");
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::create_dir(&mount).unwrap();
        let machine = Self { dir };
        machine.mount();
        machine
    }

    fn mount(&self) {
        let line =
            format!("31 24 0:27 / {} rw - cgroup2 cgroup2 rw\n", self.dir.path().join("cgroup").display());
        fs::write(self.dir.path().join("proc/self/mountinfo"), line).unwrap();
    }

    fn unmount(&self) {
        fs::write(self.dir.path().join("proc/self/mountinfo"), "").unwrap();
    }

    fn cache(&self, capacity: usize) -> IdentityCache {
        let root = self.dir.path().join("proc");
        let mut cache = IdentityCache::under(&root, capacity);
        // There are no pages to look at.
        cache.cmdlines = Some(Reader::with(&root, |_, _| true));
        cache
    }

    fn pid_dir(&self, pid: u32) -> PathBuf {
        self.dir.path().join(format!("proc/{pid}"))
    }

    /// A process that started `seconds` after the machine.
    fn run(&self, pid: u32, seconds: u64, comm: &str, exe: &str, cgroup: &str) {
        let dir = self.pid_dir(pid);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let ticks = seconds * 1_000_000_000 / Proc::new(Path::new("/proc")).tick_ns();
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cmdline"), format!("{comm}\0--now\0")).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        symlink(exe, dir.join("exe")).unwrap();
    }

    fn exit(&self, pid: u32) {
        fs::remove_dir_all(self.pid_dir(pid)).unwrap();
    }

    /// Makes a cgroup and returns its id.
    fn cgroup(&self, path: &str) -> u64 {
        let dir = self.dir.path().join("cgroup").join(&path[1..]);
        fs::create_dir_all(&dir).unwrap();
        fs::metadata(dir).unwrap().ino()
    }
}

const SECOND: u64 = 1_000_000_000;
const ID: &str = "3f1c0f9a7e0b52d4c8a6b1e09d7f33215c4e8b6a90d1f2e3a4b5c6d7e8f90a1b";

#[test]
fn a_process_is_remembered_after_it_is_gone_and_its_pid_used_again() {
    let machine = Machine::new();
    let id = machine.cgroup(&format!("/system.slice/docker-{ID}.scope"));
    machine.run(4243, 97, "curl", "/usr/bin/curl", &format!("0::/system.slice/docker-{ID}.scope\n"));
    let mut cache = machine.cache(7);
    let first = cache.resolve(4243, 97 * SECOND, Some(Comm::new("curl")), id, 0);
    assert_eq!(first.exe.as_deref(), Some("/usr/bin/curl"));
    // It is read on another thread.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while first.cmdline.get().is_none() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(first.cmdline.get().map(String::as_str), Some("curl --now"));
    assert_eq!(first.cgroup.as_deref(), Some(format!("/system.slice/docker-{ID}.scope").as_str()));
    let container = first.container.as_ref().unwrap();
    assert_eq!((container.runtime, container.id.as_str()), (Runtime::Docker, ID));

    machine.exit(4243);
    assert_eq!(cache.resolve(4243, 97 * SECOND, Some(Comm::new("curl")), id, 1), first);
    machine.run(4243, 101, "curl", "/opt/other/curl", "0::/\n");
    assert_eq!(cache.resolve(4243, 97 * SECOND, Some(Comm::new("curl")), id, 2), first);
    let second = cache.resolve(4243, 101 * SECOND, Some(Comm::new("curl")), 0, 3);
    assert_eq!(second.exe.as_deref(), Some("/opt/other/curl"));
}

#[test]
fn exec_makes_another_program_of_the_same_process() {
    let machine = Machine::new();
    machine.run(4243, 97, "bash", "/bin/bash", "0::/\n");
    let mut cache = machine.cache(7);
    let exe = |cache: &mut IdentityCache, name| {
        cache.resolve(4243, 97 * SECOND, Some(Comm::new(name)), 0, 0).exe.clone()
    };
    assert_eq!(exe(&mut cache, "bash").as_deref(), Some("/bin/bash"));
    machine.run(4243, 97, "curl", "/usr/bin/curl", "0::/\n");
    assert_eq!(exe(&mut cache, "curl").as_deref(), Some("/usr/bin/curl"));
    assert_eq!(exe(&mut cache, "bash").as_deref(), Some("/bin/bash"));
    // An event of a name that it had before anyone looked: not this program's.
    assert_eq!(exe(&mut cache, "sh"), None);
    assert_eq!(
        cache
            .resolve(4243, 97 * SECOND, Some(Comm::from_kernel(*b"curl\0tover\0\0\0\0\0\0")), 0, 0)
            .exe
            .as_deref(),
        Some("/usr/bin/curl")
    );
    let unnamed = cache.resolve(4243, 97 * SECOND, None, 0, 0);
    assert_eq!(unnamed.exe.as_deref(), Some("/usr/bin/curl"));
}

#[test]
fn a_cgroup_that_was_not_found_is_looked_for_again() {
    let machine = Machine::new();
    let mut cache = machine.cache(7);
    assert_eq!(*cache.resolve(4243, 97 * SECOND, None, 7, 0), Identity::default());
    let id = machine.cgroup("/lxc.payload.web");
    assert_eq!(
        *cache.resolve(4243, 97 * SECOND, None, id, 1),
        Identity::default(),
        "too early for a look round"
    );
    let found = cache.resolve(4243, 97 * SECOND, None, id, 2 * SECOND);
    assert_eq!(found.cgroup.as_deref(), Some("/lxc.payload.web"));
    assert_eq!(found.container.as_ref().map(|container| container.id.as_str()), Some("web"));
    // But not the program: the process that has the pid by then may be another.
    machine.run(4243, 97, "late", "/bin/late", "0::/lxc.payload.web\n");
    assert_eq!(cache.resolve(4243, 97 * SECOND, None, id, 9 * SECOND).exe, None);
}

#[test]
fn the_cgroup_is_that_of_the_event_and_not_that_of_now() {
    let machine = Machine::new();
    let (before, now) = (machine.cgroup("/before.scope"), machine.cgroup("/now.scope"));
    machine.run(4243, 97, "moved", "/bin/moved", "0::/now.scope\n");
    let mut cache = machine.cache(7);
    let path = |cache: &mut IdentityCache, id| cache.resolve(4243, 97 * SECOND, None, id, 0).cgroup.clone();
    assert_eq!(path(&mut cache, before).as_deref(), Some("/before.scope"));
    assert_eq!(path(&mut cache, now).as_deref(), Some("/now.scope"));
    assert_eq!(path(&mut cache, u64::MAX), None);
    assert_eq!(path(&mut cache, 0).as_deref(), Some("/now.scope"));
}

#[test]
fn on_a_machine_with_v1_the_container_comes_from_there() {
    let machine = Machine::new();
    let root = fs::metadata(machine.dir.path().join("cgroup")).unwrap().ino();
    let lines = format!("4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
    machine.run(4243, 97, "old", "/bin/old", &lines);
    for mounted in [true, false] {
        if !mounted {
            machine.unmount();
        }
        let identity = machine.cache(7).resolve(4243, 97 * SECOND, None, root, 0);
        assert_eq!(identity.cgroup, Some(format!("/docker/{ID}")), "mounted: {mounted}");
        assert_eq!(identity.container.as_ref().unwrap().id, ID);
        // Of all others it is the cgroup as well.
        assert!(!machine.cache(7).is_cgroup(&format!("/docker/{ID}"), root));
    }
    machine.run(4243, 97, "old", "/bin/old", "4:memory:/\n0::/\n");
    let identity = machine.cache(7).resolve(4243, 97 * SECOND, None, root, 0);
    assert_eq!((identity.cgroup.as_deref(), &identity.container), (Some("/"), &None));
    let own = machine.dir.path().join("proc/self");
    machine.mount();
    for (cgroups, is_everybodys) in [("4:memory:/\n0::/\n", false), ("0::/\n", true)] {
        fs::write(own.join("cgroup"), cgroups).unwrap();
        assert_eq!(machine.cache(7).is_cgroup("/", root), is_everybodys, "{cgroups:?}");
    }
}

#[test]
fn the_longest_unasked_for_is_forgotten_first() {
    let machine = Machine::new();
    let mut cache = machine.cache(2);
    for pid in [11, 13] {
        machine.run(pid, 97, "p", "/bin/p", "0::/\n");
        cache.resolve(pid, 97 * SECOND, None, 0, 0);
        machine.exit(pid);
    }
    let remembered =
        |cache: &mut IdentityCache, pid| cache.resolve(pid, 97 * SECOND, None, 0, 0).exe.is_some();
    assert!(remembered(&mut cache, 11));
    cache.resolve(17, 97 * SECOND, None, 0, 0);
    assert!(remembered(&mut cache, 11));
    assert!(!remembered(&mut cache, 13));
}

#[test]
fn command_lines_that_nobody_wants_are_not_read() {
    let pid = std::process::id();
    let start_ns = crate::host::identity::start_ns(Path::new("/proc/self")).unwrap();
    for wanted in [false, true] {
        let mut cache = IdentityCache::new(7, None, wanted);
        let identity = cache.resolve(pid, start_ns, None, 0, 1);
        assert!(identity.exe.is_some());
        assert_eq!(cache.cmdlines.is_some(), wanted);
    }
}
