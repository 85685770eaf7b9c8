//! Delays, sorted, and the two numbers that describe them.

use std::fmt;

/// Some delays in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    sorted: Vec<f64>,
}

impl Latency {
    /// Takes in measured delays, in any order.
    #[must_use]
    pub fn new(mut delays_ms: Vec<f64>) -> Self {
        delays_ms.sort_by(f64::total_cmp);
        Self { sorted: delays_ms }
    }

    /// How many were measured.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether none was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The one in the middle; NaN when none was measured.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.at(50)
    }

    /// The one that 95 of 100 do not exceed; NaN when none was measured.
    #[must_use]
    pub fn p95(&self) -> f64 {
        self.at(95)
    }

    /// The nearest rank.
    fn at(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, median, p95) = (self.len(), self.median(), self.p95());
        write!(f, "median {median:.1} ms, p95 {p95:.1} ms ({count} keystrokes)")
    }
}

/// Prints one measured line, so that it stands out between test names.
pub fn summary(what: &str, latency: &Latency) {
    println!("    {what}: {latency}");
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn median_and_p95_are_nearest_ranks() {
        let latency = Latency::new((1..=100).rev().map(f64::from).collect());
        assert_eq!((latency.median(), latency.p95(), latency.len()), (50.0, 95.0, 100));
        let one = Latency::new(vec![7.0]);
        assert_eq!((one.median(), one.p95()), (7.0, 7.0));
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert!(Latency::default().median().is_nan());
        assert!(Latency::default().is_empty());
    }
}
