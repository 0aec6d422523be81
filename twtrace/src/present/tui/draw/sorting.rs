//! Owns: the list of columns that a view can be sorted by.
//! Must not know: rows.

use crate::present::tui::palette::{PICKED, PLAIN};
use ratatui::text::Line as Text;

use crate::present::tui::state::State;

/// The columns of the open view, the selected one marked; a title first.
pub(super) fn lines(state: &State, selected: usize) -> Vec<Text<'static>> {
    let columns = state.columns();
    let line = |(at, title): (usize, &str)| {
        let (mark, style) = if at == selected { ('>', PICKED) } else { (' ', PLAIN) };
        Text::styled(format!("{mark} {title}"), style)
    };
    let titles = columns.iter().map(|column| column.title).enumerate();
    std::iter::once(Text::raw(" Sort by")).chain(titles.map(line)).collect()
}
