//! The one source of chance: SplitMix64, and streams split off it by name.

/// A sequence of numbers that only its seed determines.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Another sequence, which does not move when this one is drawn from more often.
    #[must_use]
    pub fn split(&self, name: u64) -> Self {
        let mut mixed = Self::new(self.state ^ name.wrapping_mul(0xa076_1d64_78bd_642f));
        Self::new(mixed.next_u64())
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `choices`; 0 if there are none.
    pub fn below(&mut self, choices: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(choices)) >> 64) as u64
    }

    /// An index below `len`; 0 if there are none.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True with this probability, from 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        let below = (probability * 2f64.powi(64)) as u128;
        u128::from(self.next_u64()) < below
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_sequence_is_its_own() {
        let rng = Rng::new(1);
        let (mut one, mut two) = (rng.split(1), rng.split(2));
        assert_ne!(one.next_u64(), two.next_u64());
        assert_eq!(rng.split(1).next_u64(), rng.split(1).next_u64());
        assert!((0..100).all(|_| one.below(7) < 7));
        assert_eq!(two.below(0), 0);
    }

    #[test]
    fn a_quarter_is_one_in_four() {
        let (mut one, mut two) = (Rng::new(1), Rng::new(1));
        assert!((0..1_000).all(|_| one.chance(0.25) == two.one_in(4)));
        assert!((0..1_000).all(|_| one.chance(1.0) && !two.chance(0.0)));
    }
}
