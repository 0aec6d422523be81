//! The architectures that twtrace is built for.
//!
//! Owns: what each is called by Rust, Debian and qemu, and what it takes to build for it here. Must not know: what is built.

use anyhow::{Result, bail};
use std::process::Command;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    /// x86-64
    Amd64,
    /// 64-bit Arm
    Arm64,
}

impl Arch {
    /// All of them.
    pub(crate) const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

    /// This machine's; `None` where nobody has built for that.
    fn own() -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.machine() == std::env::consts::ARCH)
    }

    /// As Debian calls it, and the command line.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// The target that static programs are built for: with `crt-static` they need no libc where they run.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64-unknown-linux-gnu",
            Arch::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As uname(1), Red Hat's packages and aya-ebpf call it.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
        }
    }

    /// Whether this machine runs its programs.
    pub(crate) fn is_own(self) -> bool {
        Arch::own() == Some(self)
    }

    /// The emulator.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Arch::Amd64 => "qemu-system-x86_64",
            Arch::Arm64 => "qemu-system-aarch64",
        }
    }

    /// Tells cargo the linker; crates with C find Debian's cross compiler by themselves. Flags for rustc are the caller's.
    ///
    /// # Errors
    /// Where this machine's own programs are of neither architecture.
    pub(crate) fn tools(self, cargo: &mut Command) -> Result<()> {
        if Arch::own().is_none() {
            bail!("nobody has built for {} on {}", self.target(), std::env::consts::ARCH);
        }
        if !self.is_own() {
            let compiler = match self {
                Arch::Amd64 => "x86_64-linux-gnu-gcc",
                Arch::Arm64 => "aarch64-linux-gnu-gcc",
            };
            let target = self.target().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), compiler);
        }
        Ok(())
    }
}
