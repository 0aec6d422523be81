//! The verdict on top, the doctor's page, folding, and keys that people bring from htop.

use ratatui::crossterm::event::KeyCode;

use super::keys::{click, rows, screen};
use super::samples::busy;
use super::{Mode, Screen, Wish};

#[test]
fn the_doctor_has_a_page_by_key_and_click() {
    let mut screen = Screen::new(busy(), (80, 60));
    screen.press(KeyCode::Char('d'));
    assert_eq!(screen.state.mode, Mode::Doctor(0));
    let page = screen.text();
    for words in ["CRITICAL  not_explained", "evidence", "who", "more: twtrace doctor explain"] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    assert!(!page.contains("run:"), "no command that may act elsewhere:\n{page}");
    super::compare("doctor-80", &page);
    screen.press(KeyCode::Esc);
    assert_eq!(screen.state.mode, Mode::Table);
    click(&mut screen, 20, 0);
    assert_eq!(screen.state.mode, Mode::Doctor(0));
    screen.press(KeyCode::Char('d'));
    let title = screen.text().lines().position(|line| line.starts_with("twtrace ")).unwrap();
    click(&mut screen, 20, title as u16);
    assert_eq!(screen.state.mode, Mode::Table, "the title is no finding");
}

#[test]
fn a_column_is_chosen_from_a_list() {
    let mut screen = screen();
    screen.press(KeyCode::F(6));
    screen.press(KeyCode::Home);
    assert!(screen.text().contains("> PID"), "{}", screen.text());
    screen.press(KeyCode::Down);
    screen.press(KeyCode::Enter);
    assert!(screen.text().contains("PROCESS▲"), "{}", screen.text());
    screen.press(KeyCode::Char('s'));
    screen.press(KeyCode::Esc);
    assert!(screen.text().contains("PROCESS▲"), "it stays:\n{}", screen.text());
}

#[test]
fn the_chosen_column_is_seen_however_low_the_screen_is() {
    let mut screen = Screen::new(busy(), (80, 24));
    screen.press(KeyCode::Char('s'));
    screen.press(KeyCode::End);
    assert!(screen.text().contains("> DESTINATION"), "{}", screen.text());
    screen.press(KeyCode::Home);
    assert!(screen.text().contains("> PID"), "{}", screen.text());
    // As in every other list.
    screen.press(KeyCode::PageDown);
    assert!(screen.text().contains("> AGE p99"), "{}", screen.text());
    screen.press(KeyCode::PageUp);
    assert!(screen.text().contains("> PID"), "{}", screen.text());
}

#[test]
fn processes_fold_into_what_they_have_in_common() {
    let mut screen = Screen::new(busy(), (140, 40));
    assert!(!screen.text().contains('×'), "nothing is folded but what is gone:\n{}", screen.text());
    screen.press(KeyCode::Char('f'));
    super::compare("programs-140", &screen.text());
    assert!(screen.text().ends_with("by program  1-5 of 5\n"), "{}", screen.text());
    assert!(screen.text().contains("×23 curl"), "{}", screen.text());
    screen.type_in("/curl");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    assert_eq!(rows(&screen).iter().filter(|row| row.contains("   curl ")).count(), 23, "{}", screen.text());
    screen.press(KeyCode::Enter);
    assert_eq!(rows(&screen).iter().filter(|row| row.contains("   curl ")).count(), 0, "{}", screen.text());
    screen.press(KeyCode::Esc);
    for words in ["(no unit)", "docker:0123456", "shop/web-17", "4026531840"] {
        screen.press(KeyCode::F(5));
        assert!(
            words == "(no unit)" || rows(&screen).iter().any(|row| row.contains(words)),
            "{words}\n{}",
            screen.text()
        );
    }
    screen.press(KeyCode::F(5));
    assert!(!screen.text().contains('×'), "{}", screen.text());
}

#[test]
fn habits_of_htop() {
    let mut screen = screen();
    for (key, mode) in [(1, Mode::Help(0)), (3, Mode::Typing), (4, Mode::Typing)] {
        screen.press(KeyCode::F(key));
        assert_eq!(screen.state.mode, mode);
        screen.press(KeyCode::Esc);
    }
    assert_eq!(screen.press(KeyCode::F(10)), Wish::Quit);
    assert_eq!(screen.press(KeyCode::Char('+')), Wish::Interval { is_shorter: false });
    assert_eq!(screen.press(KeyCode::Char('-')), Wish::Interval { is_shorter: true });
}

#[test]
fn the_verdict_is_the_last_to_go() {
    for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
        let screen = Screen::new(busy(), (width, height));
        let text = screen.text();
        let verdict: Vec<&str> = text.lines().take_while(|line| !line.starts_with("twtrace ")).collect();
        let whole = verdict.join(" ");
        assert!(text.starts_with("CRITICAL php-fpm[4194301] cannot connect"), "{text}");
        assert!(
            width < 80 || whole.split_whitespace().collect::<Vec<_>>().join(" ").contains("not explained"),
            "{text}"
        );
    }
}

#[test]
fn what_repeats_is_one_row_until_one_looks() {
    let mut screen = Screen::new(busy(), (140, 40));
    screen.type_in("7");
    let row = |screen: &Screen| rows(screen).iter().find(|row| row.contains("connect_failed")).cloned();
    let text = row(&screen).unwrap();
    assert!(text.contains("×7  0.7/s") && text.contains("EADDRNOTAVAIL"), "{text}");
    screen.type_in("/connect_failed");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    assert!(screen.state.is_paused, "events go by while one looks");
    assert_eq!(rows(&screen).iter().filter(|row| row.contains("connect_failed")).count(), 8);
    screen.press(KeyCode::Down);
    screen.press(KeyCode::Enter);
    assert!(matches!(screen.state.mode, Mode::Details(..)), "{}", screen.text());
}

#[test]
fn esc_takes_back_what_enter_did() {
    let mut screen = Screen::new(busy(), (140, 40));
    screen.type_in("7/connect_failed");
    screen.press(KeyCode::Enter);
    let opened = |screen: &Screen| rows(screen).iter().filter(|row| row.contains("connect_failed")).count();
    // Enter once more closes it as well.
    for back in [KeyCode::Esc, KeyCode::Enter] {
        screen.press(KeyCode::Enter);
        assert_eq!((opened(&screen), screen.state.is_paused), (8, true));
        if back == KeyCode::Esc {
            assert!(screen.text().lines().last().unwrap().contains("Esc: close"), "{}", screen.text());
            screen.press(KeyCode::End);
        }
        screen.press(back);
        assert_eq!((opened(&screen), screen.state.is_paused), (1, false), "{back:?}");
        assert_eq!(screen.state.filter, "connect_failed", "one thing at a time");
    }
    // Who paused by hand goes on by hand.
    screen.press(KeyCode::Char(' '));
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Esc);
    assert_eq!((opened(&screen), screen.state.is_paused), (1, true));
    screen.press(KeyCode::Char(' '));
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Char(' '));
    screen.press(KeyCode::Char(' '));
    screen.press(KeyCode::Esc);
    assert!(screen.state.is_paused);
    screen.press(KeyCode::Esc);
    assert!(screen.state.filter.is_empty() && screen.state.is_paused);
}

#[test]
fn esc_closes_what_is_seen() {
    let mut screen = Screen::new(busy(), (140, 60));
    screen.type_in("f/curl");
    screen.press(KeyCode::Enter);
    screen.press(KeyCode::Enter);
    let curls = |screen: &Screen| rows(screen).iter().filter(|row| row.contains("   curl ")).count();
    assert_eq!((curls(&screen), screen.state.is_paused), (23, false));
    // In another view it is not seen.
    screen.type_in("2");
    screen.press(KeyCode::Esc);
    assert!(screen.state.filter.is_empty());
    screen.type_in("1");
    assert_eq!(curls(&screen), 23);
    screen.press(KeyCode::Esc);
    assert_eq!(curls(&screen), 0);
}

#[test]
fn labels_of_the_foot_can_be_clicked() {
    let mut screen = screen();
    for (label, mode) in
        [("d: doctor", Mode::Doctor(0)), ("/: filter", Mode::Typing), ("?: help", Mode::Help(0))]
    {
        let foot = screen.text().lines().last().unwrap().to_owned();
        click(&mut screen, foot.find(label).unwrap() as u16 + 3, 23);
        assert_eq!(screen.state.mode, mode, "{label}");
        let foot = screen.text().lines().last().unwrap().to_owned();
        click(&mut screen, foot.find("Esc").unwrap() as u16, 23);
        assert_eq!(screen.state.mode, Mode::Table, "{label}: {foot}");
    }
    click(&mut screen, 79, 23);
    assert_eq!(screen.state.mode, Mode::Table, "the position is no label");
}
