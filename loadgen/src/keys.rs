//! The keys of a workload, and how often each is chosen.
//!
//! Invariant: keys are in byte order of their index, so that neighbours by index are neighbours
//! in a range.

use rand::Rng;
use rusd_checker::history::text::Text;

use crate::stats::approximate;
use crate::workload::{Distribution, Keys};

/// Skew of `zipf` when the workload names none: YCSB's.
const ZIPF_EXPONENT: f64 = 0.99;

/// The keys of a workload.
#[derive(Debug)]
pub struct KeySpace {
    prefix: String,
    count: usize,
    digits: usize,
    /// Zipf only: at `i`, the chance of an index up to `i`.
    cumulative: Vec<f64>,
}

impl KeySpace {
    /// The keys that the workload declares.
    pub fn new(keys: &Keys) -> KeySpace {
        let count = usize::try_from(*keys.count.get_ref()).expect("u32 fits usize");
        let exponent = keys.exponent.as_ref().map_or(ZIPF_EXPONENT, |e| *e.get_ref());
        let cumulative = match keys.distribution {
            Distribution::Uniform => Vec::new(),
            Distribution::Zipf => zipf_table(count, exponent),
        };
        let digits = (count - 1).to_string().len();
        KeySpace { prefix: keys.prefix.clone(), count, digits, cumulative }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The key of an index. An index past the last is the end of a range over the last keys.
    pub fn key(&self, index: usize) -> Text {
        if index >= self.count {
            return Text::from(&prefix_end(self.prefix.as_bytes()));
        }
        Text::from(&format!("{}{index:0digits$}", self.prefix, digits = self.digits))
    }

    /// First key and end of the range that holds all keys.
    pub fn whole(&self) -> (Text, Text) {
        (Text::from(&self.prefix), Text::from(&prefix_end(self.prefix.as_bytes())))
    }

    /// An index, as often as the distribution says.
    pub fn sample(&self, rng: &mut impl Rng) -> usize {
        if self.cumulative.is_empty() {
            return rng.random_range(0..self.count);
        }
        let point: f64 = rng.random();
        self.cumulative.partition_point(|&reached| reached <= point).min(self.count - 1)
    }

    /// The index of a key of this space.
    pub fn index_of(&self, key: &[u8]) -> Option<usize> {
        let number = key.strip_prefix(self.prefix.as_bytes())?;
        let index = std::str::from_utf8(number).ok()?.parse().ok()?;
        (index < self.count).then_some(index)
    }
}

/// End of the range of all keys that start with `prefix`, as etcd has it.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

fn zipf_table(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut table: Vec<f64> = (1..=count)
        .map(|rank| {
            let rank = u64::try_from(rank).expect("usize fits u64");
            sum += approximate(rank).powf(-exponent);
            sum
        })
        .collect();
    for reached in &mut table {
        *reached /= sum;
    }
    table
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use toml::Spanned;

    use super::*;

    fn space(count: u32, distribution: Distribution) -> KeySpace {
        KeySpace::new(&Keys {
            count: Spanned::new(0..0, count),
            prefix: "k/".to_owned(),
            distribution,
            exponent: None,
        })
    }

    #[test]
    fn keys_are_in_order_and_found_again() {
        let keys = space(101, Distribution::Uniform);
        for index in 0..101 {
            assert!(keys.key(index) < keys.key(index + 1), "{index}");
            assert_eq!(keys.index_of(keys.key(index).as_bytes()), Some(index));
        }
        assert_eq!(keys.key(7).to_string(), "k/007");
        assert_eq!(keys.key(101).to_string(), "k0");
    }

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"a"), b"b");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }

    #[test]
    fn distributions_differ_in_skew() {
        let share_of_first = |distribution| {
            let keys = space(100, distribution);
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            (0..10_000).filter(|_| keys.sample(&mut rng) == 0).count()
        };
        assert!((50..200).contains(&share_of_first(Distribution::Uniform)));
        // Of 100 keys at exponent 0.99 the first has 19 %.
        assert!((1700..2200).contains(&share_of_first(Distribution::Zipf)));
    }

    #[test]
    fn every_key_is_reached() {
        for distribution in [Distribution::Uniform, Distribution::Zipf] {
            let keys = space(10, distribution);
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let mut seen = [false; 10];
            for _ in 0..1000 {
                seen[keys.sample(&mut rng)] = true;
            }
            assert_eq!(seen, [true; 10], "{distribution:?}");
        }
    }
}
