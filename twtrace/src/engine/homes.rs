//! Owns: which pools of ports lead to a destination, where a call to there failed that had no source address yet: it wanted one of theirs.
//! Must not know: what is counted of it.

use std::collections::HashMap;

use super::intern::Hasher;
use super::key::RowId;
use super::pools::Pools;
use super::table::TableRow;

/// Destinations that are remembered.
const MOST: usize = 1024;
/// Pools of one of them, which are those of as many source addresses.
const MOST_POOLS: usize = 64;

/// Network namespace, remote address and port.
type RemoteKey = (u32, u32, u16);

/// See the head of the file. Pools go by the numbers of their ports.
#[derive(Debug, Default)]
pub(super) struct Homes(HashMap<RemoteKey, Vec<u32>, Hasher>);

fn pool(row: &TableRow) -> Option<(RemoteKey, u32)> {
    let RowId::Tuple { netns, daddr, port, .. } = row.id else { return None };
    Some(((netns, daddr, port), row.pool()?))
}

impl Homes {
    /// A row is new. Where no call failed so, as nearly everywhere, that costs nothing.
    pub(super) fn add(&mut self, row: &TableRow) {
        if self.0.is_empty() {
            return;
        }
        let Some((to, number)) = pool(row) else { return };
        if let Some(known) = self.0.get_mut(&to).filter(|known| known.len() < MOST_POOLS) {
            known.push(number);
        }
    }

    /// The fullest pool that leads to where the row `of` does, which is one of `rows`; `None` where there is no room to know.
    pub(super) fn fullest(&mut self, of: &TableRow, rows: &[TableRow], pools: &Pools) -> Option<u32> {
        let (to, _) = pool(of)?;
        if self.0.len() >= MOST && !self.0.contains_key(&to) {
            return None;
        }
        let of_rows =
            || rows.iter().filter_map(pool).filter(|(other, _)| *other == to).map(|(_, number)| number);
        let known = self.0.entry(to).or_insert_with(|| of_rows().take(MOST_POOLS).collect());
        known.iter().copied().max_by_key(|pool| pools.held(*pool).all())
    }
}
