//! Writes man pages and completions into a folder, from the definitions that `--help` is made of: `cargo xtask man`.
//!
//! Owns: where in the folder each goes. Must not know: any flag.

use std::path::Path;

use clap_complete::Shell;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("give the folder to write to"));
    };
    let (pages, shells) = (Path::new(&dir).join("man1"), Path::new(&dir).join("completions"));
    for folder in [&pages, &shells] {
        std::fs::create_dir_all(folder)?;
    }
    clap_mangen::generate_to(twtrace::cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut twtrace::cli::command(), "twtrace", &shells)?;
    }
    Ok(())
}
