//! Owns: the name of a task, as the kernel has it.
//! Must not know: whose it is.

/// A process's name: what `/proc/PID/comm` says, raw and NUL-padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// From the kernel's bytes. Older kernels leave what a longer name was behind the NUL: that goes, so that equal
    /// names are equal.
    pub fn from_kernel(bytes: [u8; 16]) -> Self {
        const LOW: u128 = u128::from_ne_bytes([0x01; 16]);
        const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);
        // All bytes at once: the lowest bit that is set is that of the first NUL, and there may be more above it.
        let word = u128::from_le_bytes(bytes);
        let nul = word.wrapping_sub(LOW) & !word & HIGH;
        let before = (nul & nul.wrapping_neg()).wrapping_sub(1);
        Self((word & if nul == 0 { u128::MAX } else { before >> 7 }).to_le_bytes())
    }

    /// The name's bytes, up to the NUL.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// From a name; what does not fit into 16 bytes is cut off, as the kernel does.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 16];
        let kept = name.len().min(15);
        bytes[..kept].copy_from_slice(&name.as_bytes()[..kept]);
        Self(bytes)
    }

    /// As text: each sequence that is not UTF-8 becomes U+FFFD, and nothing else is touched.
    ///
    /// This is the `comm` of events and recordings. There `jq 'select(.comm == "…")'` must find the very name that
    /// `ps` and `/proc/PID/comm` give, so nothing is escaped; JSON escapes controls by itself and views use
    /// [`printable`](crate::model::escape::printable). The kernel cuts names at 15 bytes, often inside a character; the torn end shows as
    /// one U+FFFD.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_nul_of_a_name_goes_and_nothing_before_it() {
        for (end, fill) in (0..=16).flat_map(|end| [1, b'a', 0x80, 0xff].map(|fill| (end, fill))) {
            for rest in [0, 1, 0x80, 0xff] {
                let bytes = std::array::from_fn(|at| if at < end { fill } else { rest });
                let mut kernel: [u8; 16] = bytes;
                if let Some(nul) = kernel.get_mut(end) {
                    *nul = 0;
                }
                let kept = Comm::from_kernel(kernel);
                assert_eq!(kept.bytes(), &vec![fill; end][..], "{end} of {fill}, then {rest}");
                assert!(kept.0[end..].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn a_comm_ends_at_its_nul_and_keeps_what_utf8_can_hold() {
        let text = |bytes: &[u8; 16]| Comm::from_kernel(*bytes).text().into_owned();
        assert_eq!(text(b"nginx\0\0\0\0\0\0\0\0\0\0\0"), "nginx");
        assert_eq!(text(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(text(&[0; 16]), "");
        assert_eq!(text(b"sh\0left over\0\0\0\0"), "sh");
        assert_eq!(text(b"a\\b\x1b[31m\0\0\0\0\0\0\0\0"), "a\\b\x1b[31m");
        // "проверка" is 16 bytes; the kernel keeps 15.
        let mut torn = *"проверка".as_bytes().first_chunk().unwrap();
        torn[15] = 0;
        assert_eq!(text(&torn), "проверк\u{fffd}");
    }
}
