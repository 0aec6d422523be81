//! Owns: which of many numbers is the greatest, at any moment.
//! Must not know: what they count.

/// The greatest of many numbers that change one at a time: a tree in which each inner node has the greater of the two below it, so
/// that a change costs the logarithm of how many there are, and mostly less.
#[derive(Debug, Default)]
pub(super) struct Fullest {
    /// The root is at 1, the numbers are in the second half.
    tree: Vec<f32>,
}

impl Fullest {
    pub(super) fn set(&mut self, at: usize, value: f32) {
        if at >= self.tree.len() / 2 {
            self.grow(at);
        }
        let mut node = self.tree.len() / 2 + at;
        let mut value = value;
        // What did not change below changes nothing above.
        while node != 0 && self.tree[node].to_bits() != value.to_bits() {
            self.tree[node] = value;
            let sibling = self.tree[node ^ 1];
            node /= 2;
            value = if node == 0 { value } else { value.max(sibling) };
        }
    }

    fn grow(&mut self, at: usize) {
        let numbers = self.tree.get(self.tree.len() / 2..).unwrap_or_default().to_vec();
        let leaves = (at + 1).next_power_of_two().max(2);
        self.tree = vec![0.0; leaves];
        self.tree.extend(numbers.iter());
        self.tree.resize(2 * leaves, 0.0);
        for node in (1..leaves).rev() {
            self.tree[node] = self.tree[2 * node].max(self.tree[2 * node + 1]);
        }
    }

    pub(super) fn most(&self) -> f32 {
        self.tree.get(1).copied().unwrap_or(0.0)
    }
}
