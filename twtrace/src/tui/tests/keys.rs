//! Keys and clicks, and what is on the screen after them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::world::busy;
use super::{Desk, Mode, Tab, Wish};
use crate::tui::draw::Theme;
use crate::tui::value::Value;
use crate::tui::views::shown;

fn desk() -> Desk {
    Desk::new(busy(), (80, 24))
}

/// Lines of the table, without titles.
fn rows(desk: &Desk) -> Vec<String> {
    let (first, room) = desk.drawn.body;
    desk.text().lines().skip(first.into()).take(room.into()).map(str::to_owned).collect()
}

fn selected(desk: &Desk) -> String {
    let rows = rows(desk);
    let found: Vec<_> = rows.iter().filter(|row| row.starts_with('>')).collect();
    assert_eq!(found.len(), 1, "one row is selected: {rows:#?}");
    found[0].clone()
}

fn click(desk: &mut Desk, x: u16, y: u16) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    desk.state.click(MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }, &desk.drawn);
    desk.draw();
}

#[test]
fn quitting() {
    let mut desk = desk();
    assert_eq!(desk.press(KeyCode::Char('x')), Wish::Nothing);
    assert_eq!(desk.press(KeyCode::Char('q')), Wish::Quit);
    for mode in [Mode::Table, Mode::Typing, Mode::Help(0)] {
        desk.state.mode = mode;
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(desk.state.press(ctrl_c, &desk.drawn), Wish::Quit);
    }
    desk.state.mode = Mode::Help(0);
    assert_eq!(desk.press(KeyCode::Char('q')), Wish::Draw, "out of the help, not out of the program");
    assert_eq!(desk.state.mode, Mode::Table);
}

#[test]
fn selection_moves_and_the_table_scrolls_with_it() {
    let mut desk = desk();
    assert!(selected(&desk).contains("php-fpm"));
    desk.press(KeyCode::Down);
    assert!(selected(&desk).contains("nginx: worker"));
    desk.press(KeyCode::End);
    assert_eq!(rows(&desk).iter().position(|row| row.starts_with('>')), Some(rows(&desk).len() - 1));
    assert!(desk.drawn.top > 0);
    desk.press(KeyCode::Up);
    let top = desk.drawn.top;
    assert_eq!(rows(&desk).iter().position(|row| row.starts_with('>')), Some(rows(&desk).len() - 2));
    desk.press(KeyCode::PageUp);
    assert!(desk.drawn.top < top || top == 0);
    desk.press(KeyCode::Home);
    assert_eq!(desk.drawn.top, 0);
    assert!(selected(&desk).contains("php-fpm"));
}

#[test]
fn selection_stays_with_its_row_when_the_order_turns() {
    let mut desk = desk();
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Char('r'));
    assert!(selected(&desk).contains("nginx: worker"));
    assert!(desk.text().contains("LIVE▲"));
}

#[test]
fn sorting_by_any_column_both_ways() {
    for tab in 1..=8 {
        let mut desk = Desk::new(busy(), (250, 40));
        desk.type_in(&tab.to_string());
        for _ in 0..30 {
            desk.press(KeyCode::Left);
        }
        let columns = desk.drawn.places.len();
        for (column, ..) in desk.drawn.places.clone() {
            assert_eq!(desk.state.sort().column, column);
            for _ in 0..2 {
                let (text, down) = (desk.text(), desk.state.sort().down);
                assert!(text.contains(if down { '▼' } else { '▲' }), "{text}");
                let picture = super::picture(&desk.world, &desk.journal);
                let rows = shown(desk.state.tab, &picture, desk.state.sort(), "");
                let what = desk.state.columns()[column].what;
                let values: Vec<_> = rows.iter().map(|row| row.value(what)).collect();
                let known = values.iter().take_while(|value| **value != Value::Nothing);
                let known: Vec<_> = known.collect();
                let unknown = values.iter().skip(known.len());
                assert!(
                    unknown.into_iter().all(|value| *value == Value::Nothing),
                    "{tab} {column}: {values:?}"
                );
                let wrong = if down { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
                assert!(
                    known.windows(2).all(|pair| pair[0].order(pair[1]) != wrong),
                    "{tab} {column} {down}"
                );
                desk.press(KeyCode::Char('r'));
                assert_ne!(desk.state.sort().down, down);
            }
            desk.press(KeyCode::Right);
        }
        assert!(columns > 5);
    }
}

#[test]
fn a_filter_leaves_what_holds_its_text() {
    let mut desk = desk();
    desk.press(KeyCode::Char('/'));
    desk.type_in("NGINQ");
    assert!(desk.text().contains("nothing matches the filter"));
    desk.press(KeyCode::Backspace);
    assert_eq!(rows(&desk).iter().filter(|row| !row.is_empty()).count(), 1);
    assert!(desk.text().contains("/NGIN_"), "{}", desk.text());
    desk.press(KeyCode::Enter);
    assert!(desk.text().contains("filter: NGIN "), "{}", desk.text());
    assert!(selected(&desk).contains("nginx: worker"));
    desk.press(KeyCode::Esc);
    assert!(selected(&desk).contains("php-fpm"));
}

#[test]
fn a_filter_asks_for_names_and_not_for_figures() {
    let mut desk = desk();
    desk.type_in("/71");
    assert!(desk.text().contains("nothing matches the filter"), "71 live is no name:\n{}", desk.text());
    let ctrl_u = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
    assert_eq!(desk.state.press(ctrl_u, &desk.drawn), Wish::Draw);
    desk.type_in(&format!("{}5432", "x".repeat(100)));
    assert!(desk.text().contains("xxx5432_"), "the end is seen while it is typed:\n{}", desk.text());
}

#[test]
fn pausing_is_said() {
    let mut desk = desk();
    assert!(!desk.text().contains("PAUSED"));
    desk.press(KeyCode::Char(' '));
    assert!(desk.state.is_paused);
    assert!(desk.text().lines().next().unwrap().ends_with("PAUSED"));
    desk.press(KeyCode::Char(' '));
    assert!(!desk.text().contains("PAUSED"));
}

#[test]
fn views_turn_round() {
    let mut desk = desk();
    for tab in Tab::ALL {
        assert_eq!(desk.state.tab, tab);
        desk.press(KeyCode::Tab);
    }
    assert_eq!(desk.state.tab, Tab::Processes);
    desk.press(KeyCode::BackTab);
    assert_eq!(desk.state.tab, Tab::Netns);
}

#[test]
fn every_line_has_details() {
    for (tab, title) in [
        (1, "Process 4194301/php-fpm"),
        (2, "Tuple 10.0.0.1 > 10.0.0.9:5432 in netns"),
        (3, "Peer 10.0.0.9"),
        (4, "Port 80 "),
        (5, "Container docker:"),
        (6, "Event lost"),
        (7, "Event lost"),
        (8, "Network namespace 4026531840"),
    ] {
        let mut desk = desk();
        desk.type_in(&tab.to_string());
        desk.press(KeyCode::Enter);
        let text = desk.text();
        assert!(text.contains(&format!("\n {title}")) && text.contains("\n meaning "), "{text}");
        desk.press(KeyCode::Esc);
        assert_eq!(desk.state.mode, Mode::Table);
    }
}

#[test]
fn an_event_tells_all_it_knows() {
    let mut desk = Desk::new(busy(), (140, 40));
    desk.type_in("7/EADDRNOT");
    desk.press(KeyCode::Enter);
    desk.press(KeyCode::Enter);
    super::compare("event-140", &desk.text());
    desk.press(KeyCode::Esc);
    desk.press(KeyCode::Esc);
    desk.type_in("6/php-fpm");
    desk.press(KeyCode::Enter);
    desk.press(KeyCode::End);
    desk.press(KeyCode::Enter);
    super::compare("event-created-140", &desk.text());
}

#[test]
fn an_open_event_outlives_the_journal() {
    let mut desk = desk();
    desk.type_in("6");
    desk.press(KeyCode::Enter);
    desk.journal = super::Journal::default();
    desk.draw();
    assert!(desk.text().contains("is not kept any more"), "{}", desk.text());
}

#[test]
fn themes_change_colours_and_nothing_else() {
    let mut desk = desk();
    let colours = |desk: &Desk| -> Vec<_> {
        desk.terminal.backend().buffer().content.iter().map(|cell| cell.fg).collect()
    };
    let (text, first) = (desk.text(), colours(&desk));
    for theme in [Theme::Light, Theme::Safe, Theme::Mono] {
        let before = colours(&desk);
        desk.press(KeyCode::Char('t'));
        assert_eq!((desk.state.ink.theme, desk.text() == text), (theme, true));
        assert_ne!(colours(&desk), before, "{theme:?}");
    }
    desk.press(KeyCode::Char('t'));
    assert_eq!(colours(&desk), first);
}

#[test]
fn an_alarm_is_seen_on_the_selected_row_too() {
    let desk = desk();
    assert!(selected(&desk).starts_with(">! 4194301 php-fpm"), "{}", selected(&desk));
    assert!(rows(&desk).iter().any(|row| row.starts_with("  x    200 curl")), "{}", desk.text());
}

#[test]
fn the_help_names_every_key() {
    let mut desk = Desk::new(busy(), (80, 60));
    desk.press(KeyCode::Char('?'));
    let help = desk.text();
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
        " / ",
        "Ctrl-U",
        "space",
        " t ",
        "Ctrl-L",
        " ? ",
        "Esc",
        "q, Ctrl-C",
        "mouse click",
        "mouse wheel",
    ] {
        assert!(help.contains(key), "{key} in\n{help}");
    }
}

#[test]
fn details_scroll_to_their_end_and_no_further() {
    let mut desk = desk();
    desk.press(KeyCode::Enter);
    let first = desk.text();
    desk.press(KeyCode::End);
    let last = desk.text();
    assert_ne!(first, last);
    desk.press(KeyCode::Down);
    assert_eq!(desk.text(), last);
    desk.press(KeyCode::Home);
    assert_eq!(desk.text(), first);
}

#[test]
fn clicks() {
    let mut desk = desk();
    let (first, _) = desk.drawn.body;
    click(&mut desk, 20, first + 1);
    assert!(selected(&desk).contains("nginx: worker"));
    let failed = desk.text().lines().nth(usize::from(first) - 1).unwrap().find("FAILED").unwrap() as u16;
    click(&mut desk, failed, first - 1);
    assert!(desk.text().contains("FAILED▼"), "{}", desk.text());
    click(&mut desk, failed, first - 1);
    assert!(desk.text().contains("FAILED▲"), "{}", desk.text());
    let tuples = desk.text().lines().nth(usize::from(first) - 2).unwrap().find("Tuples").unwrap() as u16;
    click(&mut desk, tuples, first - 2);
    assert_eq!(desk.state.tab, Tab::Tuples);
    let wheel =
        MouseEvent { kind: MouseEventKind::ScrollDown, column: 1, row: 1, modifiers: KeyModifiers::NONE };
    assert_eq!(desk.state.click(wheel, &desk.drawn), Wish::Draw);
    let moved = MouseEvent { kind: MouseEventKind::Moved, ..wheel };
    assert_eq!(desk.state.click(moved, &desk.drawn), Wish::Nothing);
}
