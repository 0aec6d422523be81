//! What a replay adds to the screen.

use ratatui::crossterm::event::KeyCode;

use super::world::busy;
use super::{Desk, Mode, Wish};
use crate::replay::{Command, Replaying, Speed};

const SECOND_NS: i64 = 1_000_000_000;

fn desk() -> Desk {
    let mut desk = Desk::new(busy(), (80, 24));
    desk.state.replay = Some(Replaying { speed: Speed::Times(10.0), is_over: false, is_seeking: false });
    desk.draw();
    desk
}

fn title(desk: &Desk) -> String {
    desk.text().lines().next().unwrap().to_owned()
}

#[test]
fn keys_of_a_replay_are_passed_on() {
    let mut desk = desk();
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
            desk.state.mode = mode;
            assert_eq!(desk.press(KeyCode::Char(key)), Wish::Replay(command));
        }
    }
    assert!(!desk.state.is_paused);
    assert_eq!(desk.press(KeyCode::Char('.')), Wish::Replay(Command::Step));
    assert!(desk.state.is_paused, "a step is for looking closely");
    desk.state.mode = Mode::Typing;
    desk.type_in("+.]");
    assert_eq!(desk.state.filter, "+.]", "a filter is typed as ever");
    let mut live = Desk::new(busy(), (80, 24));
    assert_eq!(live.press(KeyCode::Char('.')), Wish::Nothing);
    assert!(!live.state.is_paused);
}

#[test]
fn the_title_says_how_it_goes() {
    let mut desk = desk();
    assert!(title(&desk).ends_with(" REPLAY 10x"), "{}", title(&desk));
    desk.press(KeyCode::Char(' '));
    assert!(title(&desk).ends_with(" REPLAY 10x PAUSED"), "{}", title(&desk));
    desk.state.replay = Some(Replaying { speed: Speed::Max, is_over: true, is_seeking: false });
    desk.draw();
    assert!(title(&desk).ends_with(" REPLAY END"), "{}", title(&desk));
    desk.state.replay = Some(Replaying { speed: Speed::Max, is_over: false, is_seeking: true });
    desk.draw();
    assert!(title(&desk).ends_with(" REPLAY SEEKING"), "{}", title(&desk));
}

#[test]
fn the_help_says_which_keys_there_are() {
    let mut desk = desk();
    desk.press(KeyCode::Char('?'));
    let text = desk.text();
    for words in
        ["Keys of a replay", "the next event, and pause", "10 seconds on or back", "to the beginning"]
    {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert!(!text.contains("the world goes on"), "{text}");
    let mut live = Desk::new(busy(), (80, 24));
    live.press(KeyCode::Char('?'));
    assert!(!live.text().contains("replay") && live.text().contains("the world goes on"));
}
