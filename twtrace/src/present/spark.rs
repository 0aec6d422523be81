//! Owns: numbers in a row as signs of different height.
//! Must not know: what is counted.

/// Signs of rising height, the first for nothing.
pub const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values, as many as there is room for; `most` is as high as can be.
pub fn spark(values: &[u32], most: u32, width: usize) -> String {
    let last = &values[values.len().saturating_sub(width)..];
    let height = |value: u32| {
        let steps = HEIGHTS.len() as u64 - 1;
        // Little is never shown as nothing.
        HEIGHTS[(u64::from(value) * steps).div_ceil(u64::from(most.max(1))).min(steps) as usize]
    };
    last.iter().map(|value| height(*value)).collect()
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
