//! Keys and clicks, and what is on the screen after them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::samples::busy;
use super::{Mode, Screen, Tab, Wish};
use crate::present::live::fixture::{NOW_S, SECOND_NS};
use crate::present::tui::Offscreen;
use crate::present::tui::palette::Theme;
use crate::present::tui::views::shown;

pub(super) fn screen() -> Screen {
    Screen::new(busy(), (80, 24))
}

/// Lines of the table, without titles.
pub(super) fn rows(screen: &Screen) -> Vec<String> {
    let (first, room) = screen.drawn.body;
    screen.text().lines().skip(first.into()).take(room.into()).map(str::to_owned).collect()
}

fn selected(screen: &Screen) -> String {
    let rows = rows(screen);
    let found: Vec<_> = rows.iter().filter(|row| row.starts_with('>')).collect();
    assert_eq!(found.len(), 1, "one row is selected: {rows:#?}");
    found[0].clone()
}

pub(super) fn click(screen: &mut Screen, x: u16, y: u16) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    screen.state.click(MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }, &screen.drawn);
    screen.draw();
}

#[test]
fn quitting() {
    let mut screen = screen();
    assert_eq!(screen.press(KeyCode::Char('x')), Wish::Nothing);
    assert_eq!(screen.press(KeyCode::Char('q')), Wish::Quit);
    for mode in [Mode::Table, Mode::Typing, Mode::Help(0)] {
        screen.state.mode = mode;
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.state.press(ctrl_c, &screen.drawn), Wish::Quit);
    }
    screen.state.mode = Mode::Help(0);
    assert_eq!(screen.press(KeyCode::Char('q')), Wish::Draw, "out of the help, not out of the program");
    assert_eq!(screen.state.mode, Mode::Table);
}

#[test]
fn selection_moves_and_the_table_scrolls_with_it() {
    let mut screen = screen();
    assert!(selected(&screen).contains("php-fpm"));
    screen.press(KeyCode::Down);
    assert!(selected(&screen).contains(" 101 "));
    screen.press(KeyCode::End);
    assert_eq!(rows(&screen).iter().position(|row| row.starts_with('>')), Some(rows(&screen).len() - 1));
    assert!(screen.drawn.top > 0);
    screen.press(KeyCode::Up);
    let top = screen.drawn.top;
    assert_eq!(rows(&screen).iter().position(|row| row.starts_with('>')), Some(rows(&screen).len() - 2));
    screen.press(KeyCode::PageUp);
    assert!(screen.drawn.top < top || top == 0);
    screen.press(KeyCode::Home);
    assert_eq!(screen.drawn.top, 0);
    assert!(selected(&screen).contains("php-fpm"));
}

#[test]
fn the_cursor_stays_on_its_line_unless_it_follows_a_row() {
    let mut screen = screen();
    screen.press(KeyCode::Down);
    screen.press(KeyCode::Down);
    assert!(selected(&screen).contains("nginx: worker"));
    let line = |screen: &Screen| rows(screen).iter().position(|row| row.starts_with(['>', 'F']));
    screen.press(KeyCode::Char('r'));
    assert!(screen.text().contains("LIVE▲"));
    assert_eq!(line(&screen), Some(2), "{}", screen.text());
    screen.press(KeyCode::Char('r'));
    screen.press(KeyCode::Char('F'));
    screen.press(KeyCode::Char('s'));
    screen.press(KeyCode::Home);
    screen.press(KeyCode::Enter);
    let followed = rows(&screen).into_iter().find(|row| row.starts_with('F')).unwrap();
    assert!(followed.contains("nginx: worker") && line(&screen) != Some(2), "{}", screen.text());
    screen.press(KeyCode::Char('F'));
    assert!(selected(&screen).contains("nginx: worker"), "it is let go where it is");
}

#[test]
fn the_verdict_is_selected_above_the_first_row() {
    let mut screen = screen();
    screen.press(KeyCode::Up);
    assert!(rows(&screen).iter().all(|row| !row.starts_with('>')), "{}", screen.text());
    let first = &screen.terminal.backend().buffer()[(0, 0)];
    assert!(first.modifier.contains(ratatui::style::Modifier::REVERSED));
    screen.press(KeyCode::Enter);
    assert_eq!(screen.state.mode, Mode::Doctor(0));
    screen.press(KeyCode::Esc);
    screen.press(KeyCode::Down);
    assert!(selected(&screen).contains("php-fpm"));
}

#[test]
fn sorting_by_any_column_both_ways() {
    for tab in 1..=8 {
        let mut screen = Screen::new(busy(), (250, 40));
        screen.type_in(&tab.to_string());
        // By a column, and not by what presses.
        screen.press(KeyCode::Char('s'));
        screen.press(KeyCode::Home);
        screen.press(KeyCode::Enter);
        for _ in 0..30 {
            screen.press(KeyCode::Left);
        }
        let columns = screen.drawn.spans.len();
        for (column, ..) in screen.drawn.spans.clone() {
            assert_eq!(screen.state.sort().column, column);
            for _ in 0..2 {
                let (text, down) = (screen.text(), screen.state.sort().down);
                assert!(text.contains(if down { '▼' } else { '▲' }), "{text}");
                let picture = super::picture(&screen.tracker, screen.state.fold, &screen.journal);
                let rows = shown(screen.state.tab, &picture, screen.state.sort(), "", &[]);
                let what = screen.state.columns()[column].what;
                let values: Vec<_> = rows.iter().map(|row| row.value(what)).collect();
                let known = values.iter().take_while(|value| value.rank() == 0);
                let known: Vec<_> = known.collect();
                let unknown = values.iter().skip(known.len());
                assert!(unknown.into_iter().all(|value| value.rank() != 0), "{tab} {column}: {values:?}");
                let wrong = if down { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
                assert!(
                    known.windows(2).all(|pair| pair[0].order(pair[1]) != wrong),
                    "{tab} {column} {down}"
                );
                screen.press(KeyCode::Char('r'));
                assert_ne!(screen.state.sort().down, down);
            }
            screen.press(KeyCode::Right);
        }
        assert!(columns > 5);
    }
}

#[test]
fn a_filter_leaves_what_holds_its_text() {
    let mut screen = screen();
    screen.press(KeyCode::Char('/'));
    screen.type_in("NGINQ");
    assert!(screen.text().contains("nothing matches the filter"));
    screen.press(KeyCode::Backspace);
    assert_eq!(rows(&screen).iter().filter(|row| !row.is_empty()).count(), 1);
    assert!(screen.text().contains("/NGIN_"), "{}", screen.text());
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("filter: NGIN "), "{}", screen.text());
    assert!(selected(&screen).contains("nginx: worker"));
    screen.press(KeyCode::Esc);
    assert!(selected(&screen).contains("php-fpm"));
}

#[test]
fn a_filter_asks_for_names_and_not_for_figures() {
    let mut screen = screen();
    screen.type_in("/71");
    assert!(screen.text().contains("nothing matches the filter"), "71 live is no name:\n{}", screen.text());
    let ctrl_u = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
    assert_eq!(screen.state.press(ctrl_u, &screen.drawn), Wish::Draw);
    screen.type_in(&format!("{}5432", "x".repeat(100)));
    assert!(screen.text().contains("xxx5432_"), "the end is seen while it is typed:\n{}", screen.text());
}

#[test]
fn pausing_is_said() {
    let mut screen = screen();
    assert!(!screen.text().contains("PAUSED"));
    screen.press(KeyCode::Char(' '));
    assert!(screen.state.is_paused);
    let is_title = |line: &&str| line.starts_with("twtrace ");
    assert!(screen.text().lines().find(is_title).unwrap().ends_with("PAUSED"));
    screen.press(KeyCode::Char(' '));
    assert!(!screen.text().contains("PAUSED"));
}

#[test]
fn what_is_opened_while_the_display_is_frozen_says_of_when_it_is() {
    let (mut tracker, _) = busy();
    let mut screen = Offscreen::new(80, 40);
    screen.frame(&tracker);
    screen.press(&tracker, ' ');
    screen.press(&tracker, 'F');
    tracker.advance((NOW_S + 7) * SECOND_NS);
    screen.enter(&tracker);
    let text = screen.text();
    assert!(text.contains(" as of ") && text.contains("; the table is of "), "{text}");
}

#[test]
fn views_turn_round() {
    let mut screen = screen();
    for tab in Tab::ALL {
        assert_eq!(screen.state.tab, tab);
        screen.press(KeyCode::Tab);
    }
    assert_eq!(screen.state.tab, Tab::Processes);
    screen.press(KeyCode::BackTab);
    assert_eq!(screen.state.tab, Tab::Netns);
}

#[test]
fn every_line_has_details() {
    for (tab, title) in [
        (1, "Process 4194301/php-fpm"),
        (2, "Tuple 10.0.0.1 > 10.0.0.9:5432 in netns"),
        (3, "Peer 10.0.0.9"),
        (4, "Port 81 "),
        (5, "Container docker:"),
        (6, "Event lost"),
        (7, "Event lost"),
        (8, "Network namespace 4026531840"),
    ] {
        let mut screen = Screen::new(busy(), (80, 40));
        screen.type_in(&tab.to_string());
        screen.press(KeyCode::Enter);
        let text = screen.text();
        assert!(text.contains(&format!("\n {title}")) && text.contains("\n meaning "), "{text}");
        screen.press(KeyCode::Esc);
        assert_eq!(screen.state.mode, Mode::Table);
    }
}

#[test]
fn an_event_tells_all_it_knows() {
    let mut screen = Screen::new(busy(), (140, 40));
    screen.type_in("7/EADDRNOT");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    super::compare("event-140", &screen.text());
    screen.press(KeyCode::Esc);
    screen.press(KeyCode::Esc);
    screen.type_in("6/php-fpm");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::End);
    screen.press(KeyCode::Enter);
    super::compare("event-created-140", &screen.text());
}

#[test]
fn an_open_event_outlives_the_journal() {
    let mut screen = screen();
    screen.type_in("6");
    screen.press(KeyCode::Enter);
    screen.journal = super::Journal::default();
    screen.draw();
    assert!(screen.text().contains("is not kept any more"), "{}", screen.text());
}

#[test]
fn themes_change_colours_and_nothing_else() {
    let mut screen = screen();
    let colours = |screen: &Screen| -> Vec<_> {
        screen.terminal.backend().buffer().content.iter().map(|cell| cell.fg).collect()
    };
    let (text, first) = (screen.text(), colours(&screen));
    for theme in [Theme::Light, Theme::Safe, Theme::Mono] {
        let before = colours(&screen);
        screen.press(KeyCode::Char('t'));
        assert_eq!((screen.state.palette.theme, screen.text() == text), (theme, true));
        assert_ne!(colours(&screen), before, "{theme:?}");
    }
    screen.press(KeyCode::Char('t'));
    assert_eq!(colours(&screen), first);
}

#[test]
fn an_alarm_is_seen_on_the_selected_row_too() {
    let screen = screen();
    assert!(selected(&screen).starts_with(">! 4194301 php-fpm"), "{}", selected(&screen));
    assert!(rows(&screen).iter().any(|row| row.starts_with("  x    200 curl")), "{}", screen.text());
}

#[test]
fn the_help_names_every_key() {
    let mut screen = Screen::new(busy(), (80, 60));
    screen.press(KeyCode::Char('?'));
    let help = screen.text();
    for key in [
        "1 to 8",
        "Tab",
        "Shift-Tab",
        "Up Down",
        "k j",
        "PgUp PgDn",
        "Home End",
        "g G",
        "Enter",
        "< >",
        " r ",
        " d ",
        "s, F6",
        "/, F3, F4",
        "+ -",
        "Ctrl-U",
        "space",
        " t ",
        "Ctrl-L",
        "?, F1",
        "Esc",
        "q, F10, Ctrl-C",
        "mouse click",
        "mouse wheel",
    ] {
        assert!(help.contains(key), "{key} in\n{help}");
    }
}

#[test]
fn details_scroll_to_their_end_and_no_further() {
    let mut screen = screen();
    screen.press(KeyCode::Enter);
    let first = screen.text();
    screen.press(KeyCode::End);
    let last = screen.text();
    assert_ne!(first, last);
    screen.press(KeyCode::Down);
    assert_eq!(screen.text(), last);
    screen.press(KeyCode::Home);
    assert_eq!(screen.text(), first);
}

#[test]
fn clicks() {
    let mut screen = screen();
    let (first, _) = screen.drawn.body;
    click(&mut screen, 20, first + 2);
    assert!(selected(&screen).contains("nginx: worker"));
    let failed = screen.text().lines().nth(usize::from(first) - 1).unwrap().find("FAILED").unwrap() as u16;
    click(&mut screen, failed, first - 1);
    assert!(screen.text().contains("FAILED▼"), "{}", screen.text());
    click(&mut screen, failed, first - 1);
    assert!(screen.text().contains("FAILED▲"), "{}", screen.text());
    let tuples = screen.text().lines().nth(usize::from(first) - 2).unwrap().find("Tuples").unwrap() as u16;
    click(&mut screen, tuples, first - 2);
    assert_eq!(screen.state.tab, Tab::Tuples);
    let wheel =
        MouseEvent { kind: MouseEventKind::ScrollDown, column: 1, row: 1, modifiers: KeyModifiers::NONE };
    assert_eq!(screen.state.click(wheel, &screen.drawn), Wish::Draw);
    let moved = MouseEvent { kind: MouseEventKind::Moved, ..wheel };
    assert_eq!(screen.state.click(moved, &screen.drawn), Wish::Nothing);
}
