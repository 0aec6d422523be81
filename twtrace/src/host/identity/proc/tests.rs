//! Owns: what is made of the files in `/proc/PID`, well-formed and hostile ones.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;

const STAT_REST: &str =
    "S 1 4242 4242 0 -1 4194560 1009 0 0 0 13 7 0 0 20 0 1 0 877123 9015296 811 18446744073709551615 1 1 0";
/// 877123 ticks of 10 ms, and a bit.
const START_NS: u64 = 8_771_234_567_891;

fn process(root: &Path, pid: u32, stat: &[u8], cmdline: &[u8], cgroup: &str, exe: &str) {
    let dir = root.join(pid.to_string());
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("stat"), stat).unwrap();
    fs::write(dir.join("cmdline"), cmdline).unwrap();
    fs::write(dir.join("cgroup"), cgroup).unwrap();
    symlink(exe, dir.join("exe")).unwrap();
}

fn at(root: &Path) -> Proc {
    Proc { root: root.into(), tick_ns: 10_000_000 }
}

fn named(name: &[u8]) -> Comm {
    let mut comm = [0; COMM_LEN];
    comm[..name.len()].copy_from_slice(name);
    Comm::from_kernel(comm)
}

#[test]
fn a_process_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let stat = format!("4242 (nginx) {STAT_REST}");
    let cgroup = "12:pids:/system.slice\n1:name=systemd:/system.slice/nginx.service\n3:cpu:/\n0::/system.slice/nginx.service\n";
    process(
        dir.path(),
        4242,
        stat.as_bytes(),
        b"nginx: worker process\0\0\0\0",
        cgroup,
        "/usr/sbin/nginx (deleted)",
    );
    let found = at(dir.path()).find(4242, START_NS, true).unwrap();
    let want = LiveProcess {
        comm: named(b"nginx"),
        exe: Some("/usr/sbin/nginx".into()),
        cgroups: Cgroups {
            v2: Some("/system.slice/nginx.service".into()),
            v1: vec!["/system.slice/nginx.service".into(), "/system.slice".into()],
        },
    };
    assert_eq!(found, want);
}

#[test]
fn nothing_is_taken_from_another_process_with_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    process(dir.path(), 4242, format!("4242 (nginx) {STAT_REST}").as_bytes(), b"x\0", "0::/\n", "/bin/x");
    let proc = at(dir.path());
    for start_ns in [0, START_NS - 10_000_000, 8_771_229_999_999, 8_771_240_000_000, u64::MAX] {
        assert_eq!(proc.find(4242, start_ns, true), None, "{start_ns}");
    }
    for start_ns in [8_771_230_000_000, 8_771_239_999_999] {
        assert!(proc.find(4242, start_ns, true).is_some(), "{start_ns}");
    }
    assert_eq!(proc.find(4243, START_NS, true), None);
}

#[test]
fn a_name_cannot_pass_for_other_fields() {
    for (name, want) in [
        (&b"nginx"[..], &b"nginx"[..]),
        (b"a b) S 1 (c", b"a b) S 1 (c"),
        (b") S 7 7 7 7 7", b") S 7 7 7 7 7"),
        (b"((((", b"(((("),
        (b"two\nlines", b"two\nlines"),
        (b"\xff\xfe)", b"\xff\xfe)"),
        (b"", b""),
        (b"kworker/u8:3-events_unbound", b"kworker/u8:3-ev"),
    ] {
        let stat = [b"4242 (", name, b") ", STAT_REST.as_bytes()].concat();
        assert_eq!(name_and_start(&stat), Some((named(want), 877_123)), "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn a_damaged_stat_is_no_process() {
    let whole = format!("4242 (nginx) {STAT_REST}");
    let enough = whole.find("877123").unwrap() + "877123".len();
    for cut in 0..whole.find("877123").unwrap() {
        assert_eq!(name_and_start(&whole.as_bytes()[..cut]), None, "{cut}");
    }
    assert!(name_and_start(&whole.as_bytes()[..enough]).is_some());
    for text in ["", ")(", "1 )( S", "1 (x) \u{fffd}", "1 (x"] {
        assert_eq!(name_and_start(text.as_bytes()), None, "{text}");
    }
    assert_eq!(name_and_start(b"1 (x) \xff 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"), None);
}

#[test]
fn arguments_are_joined_as_ps_does_and_cut() {
    for (bytes, want) in [
        (&b""[..], None),
        (b"\0\0\0", None),
        (b"curl\0-s\0http://a b\0", Some("curl -s http://a b")),
        (b"sh\0-c\0\0x\0", Some("sh -c  x")),
        (b"no-nul", Some("no-nul")),
        (b"\xff\0\x1b[2J\0", Some("\u{fffd} \x1b[2J")),
    ] {
        assert_eq!(joined(bytes).as_deref(), want, "{bytes:?}");
    }
    let long = vec![b'x'; CMDLINE_MAX as usize];
    assert_eq!(joined(&long).unwrap().len(), 4096);
    assert_eq!(joined(&[&long[..], b"y"].concat()).unwrap(), "x".repeat(4096) + "…");
}

#[test]
fn odd_lines_of_cgroups_are_left_out() {
    let text = b"\nnonsense\n7:\n0::/a:b/c (deleted)\n4:memory:/m\n0\n5:cpu,cpuacct:/\n1:name=systemd:/s\n\xff:\xff:\xff\n";
    let got = cgroups(text);
    assert_eq!(got.v2.as_deref(), Some("/a:b/c"));
    assert_eq!(got.v1, ["/s", "/m", "\u{fffd}"]);
}

#[test]
fn this_very_process_is_found_only_with_its_start_time() {
    let proc = Proc::new(Path::new("/proc"));
    let stat = fs::read("/proc/self/stat").unwrap();
    let (comm, ticks) = name_and_start(&stat).unwrap();
    let pid = std::process::id();
    let found = proc.find(pid, ticks * proc.tick_ns + 1, true).unwrap();
    assert_eq!(found.comm, comm);
    assert_eq!(found.exe, std::env::current_exe().unwrap().to_str().map(str::to_owned));
    let start_ns = ticks * proc.tick_ns + 1;
    let cmdline = proc.cmdline(pid, start_ns, Some(comm), crate::host::identity::cmdline::is_harmless);
    assert_eq!(cmdline.unwrap(), std::env::args().collect::<Vec<_>>().join(" "));
    assert_eq!(proc.find(pid, (ticks + 1) * proc.tick_ns, true), None);
}
