//! The archive format that the kernel unpacks as its first root file system.
//!
//! Owns: "newc" headers, as Documentation/driver-api/early-userspace/buffer-format.rst describes them.
//! Must not know: what goes into the archive.

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive under construction.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: std::collections::BTreeSet<String>,
}

impl Archive {
    /// Adds a directory, and its parents before it.
    pub(super) fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, (0, 0), &[]);
    }

    /// Adds a file that may be executed, and the directories above it.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(path, PROGRAM, (0, 0), content);
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("newc holds files of less than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a name of less than 4 GiB");
        // inode, mode, uid, gid, links, mtime, size, device, device of the node itself, name's size, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents end at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_padding_are_as_the_kernel_reads_them() {
        let mut archive = Archive::default();
        archive.file("/a", b"12345");
        let bytes = archive.finish();
        let header = "070701\
                      00000001000081ed000000000000000000000001000000000000000500000000000000000000000000000000\
                      0000000200000000a\0\0\0";
        let header = header.trim_end_matches('\0').to_owned() + "\0";
        assert!(bytes.starts_with(header.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
        let content = header.len().next_multiple_of(4);
        assert_eq!(&bytes[content..content + 8], b"12345\0\0\0");
        assert_eq!(&bytes[content + 8..content + 14], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn directories_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("/lib/x/y", b"");
        archive.file("/lib/x/z", b"");
        archive.device("/dev/console", 5, 1);
        let text = String::from_utf8(archive.finish()).unwrap();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|e| e[104..].trim_end_matches('\0')).collect();
        assert_eq!(names, ["lib", "lib/x", "lib/x/y", "lib/x/z", "dev", "dev/console", "TRAILER!!!"]);
    }
}
