//! Owns: a real terminal: a tmux server of its own with one window, in the calling process's network namespace. What is on the
//! screen, what the terminal is set to, keys and clicks.
//! Must not know: what runs in it, scenarios.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;
use twtrace_kit::command::read;
use twtrace_kit::wait::{PATIENCE, until};

/// What a full-screen program changes of a terminal, and must leave as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Every line of `stty -a`.
    pub stty: String,
    /// Alternate screen, cursor, and the mouse modes, as tmux has them.
    pub modes: String,
}

/// A terminal. It ends with this value, and whatever runs in it with it.
#[derive(Debug)]
pub(crate) struct Tmux {
    dir: TempDir,
    tty: PathBuf,
}

impl Tmux {
    /// A terminal with so many columns and lines, in which a plain shell runs. `environment` is added to that of the shell.
    pub(crate) fn start(columns: u16, lines: u16, environment: &[(&str, &str)]) -> Result<Self> {
        let dir = TempDir::with_prefix("twtrace-tmux-")?;
        let mut tmux = Self { dir, tty: PathBuf::new() };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut command = tmux.command();
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines, "sh"]);
        // No line editor, no coloured prompt, nothing that a user's files would do.
        command.env_clear().envs([("PATH", std::env::var("PATH").unwrap_or_default())]);
        command.envs([("PS1", "$ "), ("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("HOME", "/")]);
        command.envs(environment.iter().copied());
        read(&mut command)?;
        tmux.tty = tmux.ask("#{pane_tty}")?.into();
        tmux.await_prompt()?;
        Ok(tmux)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.dir.path().join("socket"));
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        read(self.command().args(args))
    }

    fn ask(&self, format: &str) -> Result<String> {
        Ok(self.run(&["display-message", "-p", format])?.trim_end().to_owned())
    }

    /// Types `line` and Enter.
    pub(crate) fn type_line(&self, line: &str) -> Result<()> {
        self.run(&["send-keys", "-l", line])?;
        self.keys(&["Enter"])
    }

    /// Presses keys, by the names that tmux has for them.
    pub(crate) fn keys(&self, names: &[&str]) -> Result<()> {
        self.run(&[&["send-keys"], names].concat()).map(drop)
    }

    /// Presses the left button of the mouse: column and line from 0. The terminal tells that in SGR form (xterm's 1006).
    pub(crate) fn click(&self, column: usize, line: usize) -> Result<()> {
        let told = format!("\x1b[<0;{};{}M\x1b[<0;{0};{1}m", column + 1, line + 1);
        let bytes: Vec<String> = told.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut args = vec!["send-keys", "-H"];
        args.extend(bytes.iter().map(String::as_str));
        self.run(&args).map(drop)
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]).map(drop)
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// What is on the screen, with the escapes that colour it.
    pub(crate) fn coloured(&self) -> Result<String> {
        self.run(&["capture-pane", "-p", "-e"])
    }

    /// Waits until what is on the screen is as wanted, and gives it.
    pub(crate) fn await_text(&self, what: &str, mut is_so: impl FnMut(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        let found = until(what, PATIENCE, || {
            last = self.text()?;
            Ok(is_so(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("the screen is\n{last}"))
    }

    /// Waits until there is nothing on the screen but the shell's prompt.
    pub(crate) fn await_prompt(&self) -> Result<()> {
        self.await_text("a prompt", |text| ["$", "#"].contains(&text.trim_end())).map(drop)
    }

    /// What the terminal is set to.
    pub(crate) fn state(&self) -> Result<State> {
        let stty = read(Command::new("stty").arg("-a").arg("-F").arg(&self.tty))?;
        let modes = self.ask(
            "alternate #{alternate_on} cursor #{cursor_flag} mouse #{mouse_any_flag} #{mouse_all_flag} \
             #{mouse_button_flag} #{mouse_standard_flag} #{mouse_sgr_flag} #{mouse_utf8_flag} keypad \
             #{keypad_flag} #{keypad_cursor_flag} wrap #{wrap_flag} insert #{insert_flag} origin #{origin_flag}",
        )?;
        Ok(State { stty, modes })
    }

    /// Takes the terminal away from what runs in it.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.run(&["kill-server"]).map(drop)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.run(&["kill-server"]);
    }
}
