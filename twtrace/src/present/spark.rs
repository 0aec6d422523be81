//! Owns: numbers in a row as signs of different height.
//! Must not know: what is counted.

/// Signs of rising height, the first for nothing.
pub const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values as signs of different height, as many as there is room for. `most` is full height.
pub fn spark(values: &[u32], most: u32, width: usize) -> String {
    chart(values, most, width, 1).concat()
}

/// As [`spark`], in so many rows; the highest comes first.
pub fn chart(values: &[u32], most: u32, width: usize, rows: usize) -> Vec<String> {
    let last = &values[values.len().saturating_sub(width)..];
    let (signs, most) = (HEIGHTS.len() - 1, u64::from(most.max(1)));
    let steps = (signs * rows) as u64;
    // Little is never shown as nothing.
    let height = |value: u32| (u64::from(value) * steps).div_ceil(most).min(steps) as usize;
    let sign = |value: &u32, below: usize| HEIGHTS[height(*value).saturating_sub(below).min(signs)];
    (0..rows).rev().map(|at| last.iter().map(|value| sign(value, at * signs)).collect()).collect()
}

/// All values, in as many columns at most: where there are more, each column has its part of those that it covers.
pub fn whole(values: &[u32], columns: usize) -> String {
    let squeezed: Vec<u32> = if values.len() <= columns {
        values.to_vec()
    } else {
        let share = values.len() as f64 / columns as f64;
        let column = |at: usize| {
            let (from, to) = (at as f64 * share, (at + 1) as f64 * share);
            let covered = |value: usize| (to.min(value as f64 + 1.0) - from.max(value as f64)).max(0.0);
            let values = values.iter().enumerate().skip(from as usize).take(share.ceil() as usize + 1);
            values.map(|(at, value)| f64::from(*value) * covered(at)).sum::<f64>().ceil() as u32
        };
        (0..columns).map(column).collect()
    };
    spark(&squeezed, squeezed.iter().copied().max().unwrap_or(0), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_seen_and_much_is_full() {
        assert_eq!(spark(&[9, 0, 1, 500, 1000], 1000, 4), " ▁▄█");
        assert_eq!(spark(&[0], 0, 4), " ");
        assert_eq!(chart(&[500, 501, 1, 0, 760], 1000, 5, 2), [" ▁  ▅", "██▁ █"]);
    }

    #[test]
    fn columns_share_what_they_cover() {
        assert_eq!(whole(&[7, 0, 3], 4), "█ ▄");
        // The same in each, though five do not go into three.
        assert_eq!(whole(&[3; 5], 3), "███");
        assert_eq!(whole(&[0, 0, 0, 0, 1], 3), "  █");
        assert_eq!(whole(&[], 3), "");
    }
}
