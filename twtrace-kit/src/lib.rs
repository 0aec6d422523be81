//! What the harnesses (`twtrace-scenarios`, `twtrace-bench`) and `xtask` share.
//!
//! Owns: children that end with their value (`child`), running programs (`command`), waiting (`wait`), network namespaces
//! (`netns`), processes that make one call when told to (`actor`), the kernel's books (`books`), what the kernel can do
//! (`kernel`), bpf(2) (`bpf`), asking over HTTP (`http`), and how a harness says that a machine is not up to it ([`Cannot`]).
//! Must not know: what is tested or measured; nothing of twtrace is used here.

pub mod actor;
pub mod books;
pub mod bpf;
pub mod child;
pub mod command;
pub mod http;
pub mod kernel;
pub mod netns;
pub mod wait;

/// Not a failure: this machine cannot. The reason, or the last words of the program that said so.
#[derive(Debug)]
pub struct Cannot(pub String);

impl Cannot {
    /// The exit status that says so: of the programs that are run, and of the harness that ran them.
    pub const STATUS: u8 = 77;
}

impl std::fmt::Display for Cannot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cannot {}
