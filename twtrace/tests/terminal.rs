//! Owns: the promise about the terminal: it is given back when the program panics while it has it.
//! Must not know: what is drawn.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use twtrace::engine::Tracker;
use twtrace::model::clock::Clock;
use twtrace::model::filter::Filter;
use twtrace::present::tui::{Screen, Theme};
use twtrace::source::View as _;

/// Set for the program that panics: this one, run once more. A file that is there once the first frame has been seen.
const PANICS: &str = "TWTRACE_TEST_PANICS_ON_A_TERMINAL";

/// In the first frame.
const DRAWN: &str = "Processes";

/// What a full-screen program sends to take a terminal, and to give it back (xterm, "Mouse Tracking" and "The Alternate Screen
/// Buffer").
const PAIRS: [(&str, &str); 4] = [
    ("\x1b[?1049h", "\x1b[?1049l"),
    ("\x1b[?25l", "\x1b[?25h"),
    ("\x1b[?1003h", "\x1b[?1003l"),
    ("\x1b[?1006h", "\x1b[?1006l"),
];

/// As the test below has it run: takes the terminal, draws, and panics. By itself, it does nothing.
#[test]
fn a_program_that_panics() {
    let Some(seen) = std::env::var_os(PANICS) else { return };
    let mut screen = Screen::new(Duration::from_secs(1), Some(Theme::Dark), &Filter::default()).unwrap();
    let (mut tracker, clock) = (Tracker::new(), Clock::read());
    screen.begin(clock).unwrap();
    // Frames are written by another thread, which gives way to a panic; while it writes, nothing new is drawn.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Path::new(&seen).exists() && Instant::now() < deadline {
        screen.tick(&mut tracker, clock.mono_ns).unwrap();
        // poll: another process says so, by a file.
        std::thread::sleep(Duration::from_millis(10));
    }
    // Another thread's panic is not ours: the screen goes on.
    let other = std::thread::spawn(|| panic!("another thread panics"));
    assert!(other.join().is_err());
    panic!("the screen panics");
}

/// As a shell leaves it.
fn is_cooked(termios: &Termios) -> bool {
    termios.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let before = tcgetattr(slave.as_fd()).unwrap();
    assert!(is_cooked(&before));
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_program_that_panics", "--nocapture"]).env(PANICS, &seen);
    command.stdin(Stdio::from(slave.try_clone().unwrap()));
    command.stdout(Stdio::from(slave.try_clone().unwrap()));
    command.stderr(Stdio::from(slave.try_clone().unwrap()));
    let mut child = command.spawn().unwrap();
    drop(command);
    let kept = slave.try_clone().unwrap();
    drop(slave);
    let mut terminal = File::from(master);
    let reader = std::thread::spawn(move || {
        let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
        // A terminal that nobody has open any more says EIO.
        while let Ok(length @ 1..) = terminal.read(&mut chunk) {
            all.extend(&chunk[..length]);
            if all.windows(DRAWN.len()).any(|text| text == DRAWN.as_bytes()) {
                File::create(&seen).unwrap();
            }
        }
        all
    });
    let status = child.wait().unwrap();
    let after = tcgetattr(kept.as_fd()).unwrap();
    drop(kept);
    let text = String::from_utf8_lossy(&reader.join().unwrap()).into_owned();
    assert!(!status.success(), "it did not panic:\n{text:?}");
    assert_eq!(after, before);
    let (drawing, panicked) = (text.find(DRAWN), text.rfind("the screen panics"));
    let (drawing, panicked) = (drawing.expect("nothing was drawn"), panicked.expect("no message"));
    let other = text.find("another thread panics").expect("no message of the other thread");
    for (take, give) in PAIRS {
        let (taken, given) = (text.find(take), text.rfind(give));
        let (taken, given) = (taken.unwrap_or(usize::MAX), given.unwrap_or(usize::MAX));
        assert!(taken < other && drawing < other, "{take:?} is not sent first:\n{text:?}");
        assert!(other < given && given < panicked, "{give:?} is not sent in time:\n{text:?}");
    }
}
