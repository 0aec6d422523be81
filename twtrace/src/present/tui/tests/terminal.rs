//! A terminal that is taken is given back, also by a thread that panics.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::present::tui::terminal::Guard;

/// Set in the process that is to panic.
const PANICS: &str = "TWTRACE_TEST_PANICS";

/// Does nothing but where the test below runs it.
#[test]
fn panics_with_the_terminal_taken() {
    if std::env::var_os(PANICS).is_some() {
        let _guard = Guard::take().unwrap();
        panic!("on purpose");
    }
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let terminal = openpty(None, None).unwrap();
    let before = tcgetattr(&terminal.master).unwrap();
    assert!(before.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON));
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "present::tui::tests::terminal::panics_with_the_terminal_taken", "--nocapture"])
        .env(PANICS, "1")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .status()
        .unwrap();
    assert!(!status.success(), "it did not panic");
    assert_eq!(tcgetattr(&terminal.master).unwrap(), before);
    // All of it fits into the terminal's buffer; what was written is read up to the last byte, then an error.
    drop(terminal.slave);
    let mut said = Vec::new();
    let _ = File::from(terminal.master).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("no {what:?} in {said:?}"));
    let (taken, given) = (at("\x1b[?1049h"), at("\x1b[?1049l"));
    assert!(taken < given && given < at("on purpose"), "{said:?}");
    assert!(at("\x1b[?1000h") < at("\x1b[?1000l") && at("\x1b[?25h") < at("on purpose"), "{said:?}");
}
