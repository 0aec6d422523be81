//! Owns: the form of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
//! Must not know: what a mount is wanted for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount, cut down to what is used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which part of the file system is mounted: `/` for the whole, `net:[4026532000]` for a namespace.
    pub(crate) root: String,
    /// Where it is mounted, as this process sees it.
    pub(crate) point: PathBuf,
    /// Type of the file system.
    pub(crate) fstype: String,
}

/// All mounts, in the order in which they were made. A line that is not of the documented form is left out: the
/// file is read to find a few mounts, and one odd line must not hide the others.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    // Any number of optional fields ends with a single hyphen.
    let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        root: String::from_utf8_lossy(&root).into_owned(),
        point: PathBuf::from(OsString::from_vec(point)),
        fstype: String::from_utf8_lossy(fstype).into_owned(),
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash (mangle_path(), fs/seq_file.c, 5.10 to 6.12;
/// seq_mangle_path(), there, 7.3).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if first == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"\
24 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
502 25 0:4 net:[4026532371] /run/docker/netns/3f1c0f9a7e0b rw shared:307 - nsfs nsfs rw
517 24 0:4 net:[4026532449] /run/netns/two\\040words rw shared:311 master:7 propagate_from:2 - nsfs nsfs rw
530 24 0:4 mnt:[4026532500] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
";

    #[test]
    fn fields_are_found_behind_any_number_of_optional_ones() {
        let mounts = parse(SAMPLE);
        let seen: Vec<_> =
            mounts.iter().map(|m| (m.root.as_str(), m.point.to_str().unwrap(), m.fstype.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("/", "/", "ext4"),
                ("/", "/sys/fs/cgroup", "cgroup2"),
                ("net:[4026532371]", "/run/docker/netns/3f1c0f9a7e0b", "nsfs"),
                ("net:[4026532449]", "/run/netns/two words", "nsfs"),
                ("mnt:[4026532500]", "/run/snapd/ns/lxd.mnt", "nsfs"),
            ]
        );
    }

    #[test]
    fn odd_lines_are_left_out_and_do_not_panic() {
        let text = b"\n1\n1 2 3\n1 2 0:4 net:[1] /x rw shared:1\n1 2 0:4 net:[1] /x rw -\n\xff\xfe \xff \xff \xff - \xff\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 0, "{mounts:?}");
    }

    #[test]
    fn only_complete_octal_is_undone() {
        assert_eq!(unescape(b"a\\040b\\134c\\011"), b"a b\\c\t");
        assert_eq!(unescape(b"\\04 \\999 \\777 \\"), b"\\04 \\999 \\777 \\");
    }
}
