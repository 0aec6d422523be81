//! What is asked for cannot be done on this machine.
//!
//! Owns: the error that says so, and the exit status. Must not know: what was asked for.

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
