//! Owns: sorting what is sorted seldom, with one sort for all types.
//! Must not know: what is sorted.
//!
//! The standard library's sort becomes part of the program once more for each type and each way to compare: five kilobytes each time, and there
//! were a hundred. Here places are sorted, which are of one type. What is sorted for each event, or by the thousand for each picture, is not sorted here: this takes longer.

use std::cmp::Ordering;

/// Slices that are sorted so.
pub trait Ordered<T> {
    /// As the standard library's `sort_by`: what is equal stays in its order.
    fn order_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering);

    /// As the standard library's `sort_by_key`.
    fn order_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K);
}

impl<T> Ordered<T> for [T] {
    fn order_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut order = sorted(self.len(), &mut |one, other| compare(&self[one], &self[other]));
        // Places make circles: in each, one after the other is put where it belongs, until the first would be moved again.
        for first in 0..order.len() {
            let mut at = first;
            loop {
                let from = std::mem::replace(&mut order[at], at);
                if from == first {
                    break;
                }
                self.swap(at, from);
                at = from;
            }
        }
    }

    fn order_by_key<K: Ord>(&mut self, mut key: impl FnMut(&T) -> K) {
        self.order_by(|one, other| key(one).cmp(&key(other)));
    }
}

/// The places of so many things, in their order.
#[inline(never)]
fn sorted(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 96, in an order that only looks like none, each with its place.
    fn mixed(count: u64) -> Vec<(u64, usize)> {
        (0..count).map(|at| at * 7919 % 97).zip(0..).collect()
    }

    #[test]
    fn it_sorts_as_the_standard_library_does_and_what_is_equal_stays_in_its_order() {
        for count in [0, 1, 2, 3, 20, 21, 1009] {
            let (mut ours, mut theirs) = (mixed(count), mixed(count));
            ours.order_by_key(|(number, _)| *number);
            theirs.sort_by_key(|(number, _)| *number);
            assert_eq!(ours, theirs);
            ours.order_by(|(one, _), (other, _)| (other % 13).cmp(&(one % 13)));
            theirs.sort_by_key(|(number, _)| std::cmp::Reverse(number % 13));
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn the_last_that_becomes_the_first_and_the_first_that_becomes_the_last_take_no_longer_than_others() {
        let mut all: Vec<u32> = (1..200_003).chain([0]).collect();
        all.order_by_key(|number| *number);
        assert!(all.iter().copied().eq(0..200_003));
        all.order_by_key(|number| (*number == 0, *number));
        assert!(all.iter().copied().eq((1..200_003).chain([0])));
    }
}
