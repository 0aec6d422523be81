//! Owns: how an enum of the interface gets its words.
//! Must not know: which enums there are.

/// Declares an enum's words, which are part of the interface.
macro_rules! words {
    ($type:ty, $all:ident, { $($variant:ident => $word:expr),+ $(,)? }) => {
        impl $type {
            /// Every value, in the interface's order.
            pub const $all: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the interface.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Its place in the interface's order.
            #[inline]
            pub const fn index(self) -> usize {
                // By the place of its declaration, which is the number that it is stored as.
                const INDICES: [u8; <$type>::$all.len()] = {
                    let mut indices = [0; <$type>::$all.len()];
                    let mut at = 0;
                    while at < indices.len() {
                        indices[<$type>::$all[at] as usize] = at as u8;
                        at += 1;
                    }
                    indices
                };
                INDICES[self as usize] as usize
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                let known = Self::$all.iter().copied().find(|known| known.word() == word);
                known.ok_or_else(|| {
                    format!("'{}' is not one of {}", crate::model::escape::printable(word), [$($word),+].join(", "))
                })
            }
        }
    };
}

pub(crate) use words;
