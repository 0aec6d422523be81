//! What a replay adds to the screen.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};

use super::samples::busy;
use super::{Mode, Screen, Wish};
use crate::model::filter::Filter;
use crate::recording::{Head, Namespace};
use crate::source::replay::{Command, Remote, Replaying, Speed};

const SECOND_NS: i64 = 1_000_000_000;

fn screen() -> Screen {
    let mut screen = Screen::new(busy(), (80, 24));
    screen.state.replay = Some(Replaying { speed: Speed::Times(10.0), is_over: false, is_seeking: false });
    screen.draw();
    screen
}

fn title(screen: &Screen) -> String {
    screen.text().lines().find(|line| line.starts_with("twtrace ")).unwrap().to_owned()
}

#[test]
fn keys_of_a_replay_are_passed_on() {
    let mut screen = screen();
    for (key, command) in [
        (']', Command::Seek(10 * SECOND_NS)),
        ('[', Command::Seek(-10 * SECOND_NS)),
        ('}', Command::Seek(60 * SECOND_NS)),
        ('{', Command::Seek(-60 * SECOND_NS)),
        ('0', Command::Start),
        ('+', Command::Faster),
        ('-', Command::Slower),
    ] {
        for mode in [Mode::Table, Mode::Help(0)] {
            screen.state.mode = mode;
            assert_eq!(screen.press(KeyCode::Char(key)), Wish::Replay(command));
        }
    }
    assert!(!screen.state.is_paused);
    assert_eq!(screen.press(KeyCode::Char('.')), Wish::Replay(Command::Step));
    assert!(screen.state.is_paused, "a step is for looking closely");
    screen.state.mode = Mode::Typing;
    screen.type_in("+.]");
    assert_eq!(screen.state.filter, "+.]", "a filter is typed as ever");
    let mut live = Screen::new(busy(), (80, 24));
    assert_eq!(live.press(KeyCode::Char('.')), Wish::Nothing);
    assert!(!live.state.is_paused);
}

/// What the recording left out was not watched, whoever looks at it now.
#[test]
fn what_was_recorded_is_what_was_watched() {
    let namespace =
        |netns, name: &str| Namespace { netns, name: Some(name.to_owned()), ..Namespace::default() };
    let head = Head {
        filters: ["--netns 17", "--netns 19", "--netns 23"].map(str::to_owned).to_vec(),
        namespaces: vec![namespace(17, "blue"), namespace(19, "red")],
        only_command: true,
        ..Head::default()
    };
    let remote = || Remote::new(Speed::Times(1.0));
    let second = Duration::from_secs(1);
    let filters = |filter| super::super::Screen::replaying(remote(), &head, second, None, &filter).filters;
    let recorded = ["--netns blue", "--netns red", "--netns 23", "--only-command"];
    assert_eq!(filters(Filter::default()), recorded);
    let asked = Filter { netns: vec![19], dports: vec![80], ..Filter::default() };
    assert_eq!(filters(asked), [&recorded[..], &["--dport 80"]].concat());
}

#[test]
fn the_doctor_speaks_of_the_recording() {
    let head = Head { host: "db\x1b7".to_owned(), wall_ns: 1_795_363_200_000_000_000, ..Head::default() };
    let remote = Remote::new(Speed::Times(1.0));
    let second = Duration::from_secs(1);
    let mut screen = super::super::Screen::replaying(remote, &head, second, None, &Filter::default());
    let (tracker, _) = busy();
    screen.refresh(&tracker, 0);
    screen.display.hear(&Input::Key(KeyEvent::new(KeyCode::Char('d'), KeyModifiers::NONE)));
    let mut terminal = Terminal::new(TestBackend::new(80, 200)).unwrap();
    terminal.draw(|frame| screen.display.draw(&tracker, frame.area(), frame.buffer_mut())).unwrap();
    let page = crate::present::tui::offscreen::text(terminal.backend());
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        r", a recording of db\x1b7 as of 2026-11-2",
        "do: on the machine that was recorded, in network namespace 4026531840: `sysctl -w",
        "what is on it is not in a replay; `twtrace doctor FILE` says what was seen.",
        "which sockets were bound is not in a replay",
        "more: twtrace doctor FILE",
    ] {
        assert!(words.contains(said), "{said} in\n{page}");
    }
    assert!(!words.contains("live view") && !words.contains("`twtrace doctor`"), "{page}");
}

#[test]
fn the_title_says_how_it_goes() {
    let mut screen = screen();
    assert!(title(&screen).ends_with(" REPLAY 10x"), "{}", title(&screen));
    screen.press(KeyCode::Char(' '));
    assert!(title(&screen).ends_with(" REPLAY 10x PAUSED"), "{}", title(&screen));
    screen.state.replay = Some(Replaying { speed: Speed::Max, is_over: true, is_seeking: false });
    screen.draw();
    assert!(title(&screen).ends_with(" REPLAY END"), "{}", title(&screen));
    screen.state.replay = Some(Replaying { speed: Speed::Max, is_over: false, is_seeking: true });
    screen.draw();
    assert!(title(&screen).ends_with(" REPLAY SEEKING"), "{}", title(&screen));
}

#[test]
fn the_help_says_which_keys_there_are() {
    let mut screen = screen();
    screen.press(KeyCode::Char('?'));
    let text = screen.text();
    for words in
        ["Keys of a replay", "the next event, and pause", "10 seconds on or back", "to the beginning"]
    {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert!(!text.contains("tracing continues"), "{text}");
    let mut live = Screen::new(busy(), (80, 60));
    live.press(KeyCode::Char('?'));
    assert!(!live.text().contains("replay") && live.text().contains("tracing continues"));
}
