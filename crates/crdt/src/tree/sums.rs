//! Numbers whose sums from the first on are asked for while they change.

/// A Fenwick tree ("A new data structure for cumulative frequency tables", Software: Practice and
/// Experience 24(3), 1994).
#[derive(Default)]
pub(super) struct Sums(Vec<usize>);

impl Sums {
    /// So many ones.
    pub(super) fn of_ones(count: usize) -> Self {
        let mut sums = Self(vec![0; count]);
        (0..count).for_each(|at| sums.add(at, 1));
        sums
    }

    pub(super) fn add(&mut self, mut at: usize, number: isize) {
        at += 1;
        while at <= self.0.len() {
            self.0[at - 1] = self.0[at - 1].strict_add_signed(number);
            at += at & at.wrapping_neg();
        }
    }

    pub(super) fn before(&self, mut at: usize) -> usize {
        let mut sum = 0;
        while at > 0 {
            sum += self.0[at - 1];
            at &= at - 1;
        }
        sum
    }
}
