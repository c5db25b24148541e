//! Statistics: medians, spreads, fairness.

use serde::{Deserialize, Serialize};

/// The median of some values, with the smallest and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest value.
    pub min: f64,
    /// The middle value; of an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// The spread of some values, without those that are not numbers; all zero if there are no values.
    ///
    /// ```
    /// use kennel_harness::Spread;
    ///
    /// assert_eq!(Spread::of([3.0, 1.0, 8.0]), Spread { min: 1.0, median: 3.0, max: 8.0 });
    /// ```
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { min, median: (below + above) / 2.0, max }
    }
}

/// How evenly something was shared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// The smallest share divided by the largest: 1 if all are equal, 0 if one got nothing.
    pub min_by_max: f64,
    /// Jain's index, `(sum x)^2 / (n * sum x^2)`: 1 if all are equal, 1/n if one got everything. From: R. Jain,
    /// D. Chiu, W. Hawe, "A Quantitative Measure of Fairness and Discrimination", DEC TR-301, 1984.
    pub jain: f64,
}

impl Fairness {
    /// The fairness of some shares; perfect if there are no shares or all are 0.
    #[must_use]
    pub fn of(shares: &[u64]) -> Self {
        let sum: f64 = shares.iter().map(|&share| share as f64).sum();
        if sum == 0.0 {
            return Self { min_by_max: 1.0, jain: 1.0 };
        }
        let squares: f64 = shares.iter().map(|&share| (share as f64).powi(2)).sum();
        let (min, max) = shares.iter().fold((u64::MAX, 0), |(min, max), &share| (min.min(share), max.max(share)));
        Self { min_by_max: min as f64 / max as f64, jain: sum.powi(2) / (shares.len() as f64 * squares) }
    }

    /// The median of each number over several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| Spread::of(rounds.iter().map(pick)).median;
        Self { min_by_max: of(|one| one.min_by_max), jain: of(|one| one.jain) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Spread { min: 1.0, median: 3.0, max: 9.0 });
        assert_eq!(Spread::of([7.0]), Spread { min: 7.0, median: 7.0, max: 7.0 });
    }

    #[test]
    fn what_is_no_number_counts_for_nothing() {
        assert_eq!(Spread::of([]), Spread::default());
        assert_eq!(Spread::of([f64::NAN, 2.0]), Spread { min: 2.0, median: 2.0, max: 2.0 });
    }

    #[test]
    fn equal_shares_are_fair_and_one_winner_is_not() {
        assert_eq!(Fairness::of(&[5, 5, 5, 5]), Fairness { min_by_max: 1.0, jain: 1.0 });
        assert_eq!(Fairness::of(&[8, 0, 0, 0]), Fairness { min_by_max: 0.0, jain: 0.25 });
        let uneven = Fairness::of(&[1, 3]);
        assert!((uneven.min_by_max - 1.0 / 3.0).abs() < 1e-12 && (uneven.jain - 0.8).abs() < 1e-12, "{uneven:?}");
    }

    #[test]
    fn another_winner_in_each_round_is_not_fair() {
        let rounds = [&[9, 1][..], &[1, 9], &[9, 1]].map(Fairness::of);
        assert_eq!(Fairness::median(&rounds), rounds[0]);
    }

    #[test]
    fn nothing_is_shared_fairly() {
        assert_eq!(Fairness::of(&[]), Fairness::of(&[0, 0]));
    }
}
