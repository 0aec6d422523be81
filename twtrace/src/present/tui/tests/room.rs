//! What is made of the room that a screen has: columns of the rows that are seen, details where rows leave lines blank.

use super::samples::busy;
use crate::present::tui::Offscreen;

/// The line of a table that names this.
fn line(screen: &Offscreen, name: &str) -> String {
    let text = screen.text();
    let found = text.lines().find(|line| line.contains(name));
    found.map(str::to_owned).unwrap_or(text)
}

#[test]
fn rows_that_are_seen_say_what_their_connections_were_like() {
    let (tracker, _) = busy();
    let mut screen = Offscreen::new(200, 24);
    screen.frame(&tracker);
    assert!(line(&screen, " 4194301 php-fpm ").contains("3.3ms   3.3ms"), "{}", screen.text());
    // Of the last ones nobody knew it before they were seen.
    screen.press(&tracker, 'G');
    assert!(line(&screen, " 222 curl ").contains("3.3ms   3.3ms"), "{}", screen.text());
    screen.press(&tracker, 'g');
    // Sorted by it, each row must have it.
    for _ in 0..6 {
        screen.press(&tracker, '>');
    }
    let text = screen.text();
    assert!(text.contains("AGE p50▼"), "{text}");
    assert!(line(&screen, " 4194301 php-fpm ").contains("3.3ms   3.3ms"), "{text}");
}

/// Lines of the table alone.
fn table(screen: &Offscreen) -> Vec<String> {
    let text = screen.text();
    let lines = text.lines().skip_while(|line| !line.contains("LIVE")).skip(1);
    lines.take_while(|line| !line.trim().is_empty() && !line.contains("F1")).map(str::to_owned).collect()
}

#[test]
fn rows_say_the_same_where_only_those_that_are_seen_are_worked_out() {
    let (tracker, _) = busy();
    for tab in ['1', '2', '3', '4', '5'] {
        let mut screen = Offscreen::new(200, 24);
        screen.press(&tracker, tab);
        screen.frame(&tracker);
        let seen = table(&screen);
        assert!(!seen.is_empty(), "{}", screen.text());
        // What stands still has everything.
        screen.press(&tracker, ' ');
        assert_eq!(table(&screen), seen, "{tab}");
    }
}

#[test]
fn details_stand_where_rows_leave_room() {
    let (tracker, _) = busy();
    let mut screen = Offscreen::new(80, 40);
    screen.frame(&tracker);
    assert!(!screen.text().contains(" meaning "), "rows come first: {}", screen.text());
    screen.press(&tracker, '4');
    let text = screen.text();
    assert!(text.contains(" Port 81 in netns") && text.contains(" meaning "), "{text}");
    // Where there is less room, the table has it to itself.
    let mut screen = Offscreen::new(80, 24);
    screen.press(&tracker, '4');
    assert!(!screen.text().contains(" meaning "), "{}", screen.text());
}
