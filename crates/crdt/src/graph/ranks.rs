//! The order in which operations that were made at once take effect.

use crate::graph::{Graph, Lv};
use crate::sorting::sort;

impl Graph {
    /// The places of these operations in their list, in the order of their ranks.
    pub(crate) fn by_rank(&self, lvs: &mut dyn Iterator<Item = Lv>) -> Vec<usize> {
        let mut ranked = Vec::new();
        for lv in lvs {
            ranked.push((self.rank_of(lv), ranked.len()));
        }
        sort(&mut ranked);
        let mut places = Vec::with_capacity(ranked.len());
        for (_, place) in ranked {
            places.push(place);
        }
        places
    }
}
