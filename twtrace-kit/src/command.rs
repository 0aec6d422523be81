//! Running other programs: finding them, showing what is run, reading what it printed, and failing with its name and last lines.
//!
//! Owns: commands that run to their end. Must not know: which programs, and why; children that stay (`child`).

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Lines of a failed program's output that its error repeats.
const TAIL_LINES: usize = 15;

/// The command as a user would type it, with the variables that it is given.
pub fn shown(command: &Command) -> String {
    let mut line = String::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value.filter(|_| key != "PATH") {
            line += &format!("{}={} ", key.to_string_lossy(), quoted(&value.to_string_lossy()));
        }
    }
    line += &quoted(&command.get_program().to_string_lossy());
    for arg in command.get_args() {
        line.push(' ');
        line += &quoted(&arg.to_string_lossy());
    }
    line
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        // Cargo parts flags by a character that no terminal shows.
        format!("'{}'", word.replace('\x1f', " ").replace('\'', "'\\''"))
    }
}

/// Why a command could not be started: it, as typed.
pub fn unstartable(command: &Command) -> String {
    format!("`{}` cannot be started", shown(command))
}

/// Runs a program silently, with nothing to read, and returns what it printed on stdout.
///
/// # Errors
/// Where it cannot be started; besides, as [`printed`].
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| unstartable(command))?;
    printed(command, &output)
}

/// Runs a program silently, with `input` to read, which it must take before it prints much. How it ended is for the caller to judge.
///
/// # Errors
/// Where it cannot be started, or does not take the input.
pub fn feed(command: &mut Command, input: &[u8]) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| unstartable(command))?;
    let mut stdin = child.stdin.take().context("a child has no stdin")?;
    let fed = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output()?;
    fed.with_context(|| format!("`{}` does not read: {}", shown(command), tail(&said(&output))))?;
    Ok(output)
}

/// What a program that has ended printed on stdout.
///
/// # Errors
/// Where it ended with anything but 0; the error holds the tail of all that it printed.
pub fn printed(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("`{}` failed: {}\n{}", shown(command), output.status, tail(&said(output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All that it printed, stdout before stderr.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The last lines of a text, for error messages.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The first executable of that name on `PATH`: what a command of that name starts.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    first_of(std::env::split_paths(&path), name)
}

/// As [`on_path`], and else in the folders for administrators, which users' paths lack.
pub fn which(name: &str) -> Option<PathBuf> {
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    on_path(name).or_else(|| first_of(administrators, name))
}

fn first_of(folders: impl IntoIterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    folders.into_iter().map(|dir| dir.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_quotes_what_a_shell_would_split() {
        let mut command = Command::new("a b");
        command.env("K", "v w").args(["x", "it's", ""]);
        assert_eq!(shown(&command), r#"K='v w' 'a b' x 'it'\''s' ''"#);
    }

    #[test]
    fn a_failure_names_the_command_and_repeats_its_last_lines() {
        let error = read(Command::new("sh").args(["-c", "seq 1 40; echo it\\'s >&2; exit 3"])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("seq 1 40") && error.ends_with("39\n40\nit's"), "{error}");
        assert!(!error.contains("\n25\n"), "{error}");
        assert_eq!(read(Command::new("sh").args(["-c", "echo out; echo err >&2"])).unwrap(), "out\n");
        let error = read(&mut Command::new("/no/such program")).unwrap_err().to_string();
        assert_eq!(error, "`'/no/such program'` cannot be started");
    }

    #[test]
    fn what_is_fed_is_read() {
        let output = feed(&mut Command::new("cat"), b"seven").unwrap();
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"seven"[..], Some(0)));
        // More than a pipe holds, and nobody reads it.
        let error = feed(Command::new("sh").args(["-c", "echo no >&2"]), &[0; 1 << 20]).unwrap_err();
        assert!(error.to_string().ends_with("does not read: no"), "{error}");
    }

    #[test]
    fn programs_for_administrators_are_found() {
        assert!(which("sh").is_some() && on_path("sh").is_some());
        assert!(which("no-such-program").is_none());
    }
}
