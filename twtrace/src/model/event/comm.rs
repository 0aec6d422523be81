//! Owns: the name of a task, as the kernel has it.
//! Must not know: whose it is.

use twtrace_common::COMM_LEN;

/// Most bytes of a name that the kernel keeps; behind them stands a NUL.
const KEPT: usize = COMM_LEN - 1;
/// What is kept for each U+FFFD that a name's text has. It is in no UTF-8, and one byte: so all of a text has room where the kernel's bytes had.
const STRAY: u8 = 0xff;

/// A process's name, NUL-padded, in its one form: whether it came from the kernel's bytes, from `/proc`, from a recording or from who asks for
/// it, equal names are equal. What is not UTF-8 in it, as the end of a name that the kernel tore, is kept as [`STRAY`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm([u8; COMM_LEN]);

impl Comm {
    /// No name.
    pub const NONE: Self = Self([0; COMM_LEN]);

    /// From the kernel's bytes. Older kernels leave what a longer name was behind the NUL: that goes, so that equal
    /// names are equal.
    #[inline]
    pub fn from_kernel(bytes: [u8; COMM_LEN]) -> Self {
        const LOW: u128 = u128::from_ne_bytes([0x01; 16]);
        const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);
        // All bytes at once: the lowest bit that is set is that of the first NUL, and there may be more above it.
        let word = u128::from_le_bytes(bytes);
        let nul = word.wrapping_sub(LOW) & !word & HIGH;
        let before = (nul & nul.wrapping_neg()).wrapping_sub(1);
        let word = word & if nul == 0 { u128::MAX >> 8 } else { before >> 7 };
        // Every event has a name or two, and hardly any has more than ASCII in it.
        if word & HIGH == 0 { Self(word.to_le_bytes()) } else { Self::of_text_in(&word.to_le_bytes()) }
    }

    /// Of bytes that may be text.
    #[cold]
    fn of_text_in(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())];
        let stray = |bytes: &[u8]| (!bytes.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        Self::of_chars(
            bytes.utf8_chunks().flat_map(|chunk| chunk.valid().chars().chain(stray(chunk.invalid()))),
        )
    }

    fn of_chars(chars: impl Iterator<Item = char>) -> Self {
        let (mut bytes, mut end) = ([0; COMM_LEN], 0);
        for char in chars.take_while(|char| *char != '\0') {
            let mut utf8 = [0; 4];
            let kept: &[u8] = match char {
                char::REPLACEMENT_CHARACTER => &[STRAY],
                char => char.encode_utf8(&mut utf8).as_bytes(),
            };
            let next = end + kept.len();
            let Some(room) = bytes[..KEPT].get_mut(end..next) else {
                // The kernel tears a character that does not fit.
                bytes[end..KEPT].iter_mut().take(1).for_each(|byte| *byte = STRAY);
                break;
            };
            room.copy_from_slice(kept);
            end = next;
        }
        Self(bytes)
    }

    /// The name's bytes, up to the NUL; see [`Comm::text`] for what of them is no text.
    pub fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// All of its bytes, those behind the name as well.
    pub fn padded(&self) -> [u8; COMM_LEN] {
        self.0
    }

    /// From a name; what does not fit into 16 bytes is cut off, as the kernel does.
    pub fn new(name: &str) -> Self {
        if !name.is_ascii() {
            return Self::of_chars(name.chars());
        }
        let mut bytes = [0; COMM_LEN];
        let kept = name.len().min(KEPT);
        bytes[..kept].copy_from_slice(&name.as_bytes()[..kept]);
        Self::from_kernel(bytes)
    }

    /// Whether the kernel keeps nothing of what stands behind this beginning of a name.
    pub fn is_filled_by(head: &str) -> bool {
        let kept = |char: char| if char == char::REPLACEMENT_CHARACTER { 1 } else { char.len_utf8() };
        head.chars().map(kept).sum::<usize>() >= KEPT
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
                // What cannot be text is one stray for each byte, and a sixteenth is none that a kernel has.
                let (end, fill) = (end.min(KEPT), if fill < 0x80 { fill } else { STRAY });
                assert_eq!(kept.bytes(), &vec![fill; end][..], "{end} of {fill}, then {rest}");
                assert!(kept.0[end..].iter().all(|byte| *byte == 0));
            }
        }
    }

    /// What the kernel has, and the text of it.
    const NAMES: [(&[u8], &str); 9] = [
        (b"nginx", "nginx"),
        (b"exactly-fifteen", "exactly-fifteen"),
        ("naïve".as_bytes(), "naïve"),
        ("проверк".as_bytes(), "проверк"),
        (b"\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb2\xd0\xb5\xd1\x80\xd0\xba\xd0", "проверк\u{fffd}"),
        (&[0xff; 10], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xffa\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb2\xd0\xb5\xd1\x80", "\u{fffd}aпровер"),
        // Of a character of four bytes three are left, which are one U+FFFD; and it may be there by itself.
        (b"twelve-bytes\xf0\x9f\x98", "twelve-bytes\u{fffd}"),
        (b"a\xef\xbf\xbdz", "a\u{fffd}z"),
    ];

    #[test]
    fn a_name_is_one_whether_it_came_as_bytes_or_as_text() {
        for (name, text) in NAMES {
            let mut kernel = [0; 16];
            kernel[..name.len()].copy_from_slice(name);
            let comm = Comm::from_kernel(kernel);
            assert_eq!(comm.text(), text);
            assert_eq!(comm, Comm::new(text), "{text}");
        }
        // What is longer is torn as the kernel tears it.
        assert_eq!(Comm::new("проверка"), Comm::new("проверк\u{fffd}"));
        assert_eq!(Comm::new("twelve-bytes\u{1f600}").text(), "twelve-bytes\u{fffd}");
        assert_eq!(Comm::new("exactly-fifteen-and-more").text(), "exactly-fifteen");
        assert_eq!(Comm::new("a\0b"), Comm::new("a"));
    }

    #[test]
    fn whatever_bytes_a_name_ends_with_its_text_is_theirs_and_names_it() {
        const ENDS: [u8; 11] = [0, b'a', 0x80, 0x9f, 0xbd, 0xbf, 0xd0, 0xe2, 0xef, 0xf0, 0xff];
        for at in 0..ENDS.len().pow(4) {
            let end = |digit: u32| ENDS[at / ENDS.len().pow(digit) % ENDS.len()];
            let mut kernel = *b"eleven-byte\0\0\0\0\0";
            (0..4).for_each(|digit| kernel[11 + digit as usize] = end(digit));
            let raw = kernel.split(|byte| *byte == 0).next().unwrap();
            let comm = Comm::from_kernel(kernel);
            assert_eq!(comm.text(), String::from_utf8_lossy(raw));
            assert_eq!(Comm::new(&comm.text()), comm, "{raw:x?}");
        }
    }

    #[test]
    fn a_comm_ends_at_its_nul_and_keeps_what_utf8_can_hold() {
        let text = |bytes: &[u8; 16]| Comm::from_kernel(*bytes).text().into_owned();
        assert_eq!(text(b"nginx\0\0\0\0\0\0\0\0\0\0\0"), "nginx");
        assert_eq!(text(b"0123456789abcde\0"), "0123456789abcde");
        assert_eq!(text(&[0; 16]), "");
        assert_eq!(text(b"sh\0left over\0\0\0\0"), "sh");
        assert_eq!(text(b"a\\b\x1b[31m\0\0\0\0\0\0\0\0"), "a\\b\x1b[31m");
        // "проверка" is 16 bytes; the kernel keeps 15.
        let mut torn = *"проверка".as_bytes().first_chunk().unwrap();
        torn[15] = 0;
        assert_eq!(text(&torn), "проверк\u{fffd}");
    }
}
