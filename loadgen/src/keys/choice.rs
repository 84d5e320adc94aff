//! Which key is chosen next.
//!
//! Each client has a [`Chooser`], so that its choices are its own, whatever others do. Only `latest`
//! needs to know what others did: how far the puts have come.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::Rng;

use super::{KeySpace, scattered};
use crate::stats::approximate;
use crate::workload::{Distribution, Keys};

/// Skew when the workload names none: YCSB's.
const ZIPF_EXPONENT: f64 = 0.99;
/// Share of the load that hot keys get when the workload names none.
const HOT_SHARE: f64 = 0.9;
/// One key in so many is hot when the workload names no number.
const HOT_ONE_IN: usize = 10;
/// Choices after which a hot spot moves on when the workload names none.
const MOVES_AFTER: u64 = 1000;

/// What the choices of all clients need.
#[derive(Debug)]
pub(super) struct Tables {
    distribution: Distribution,
    /// Skewed only: at `i`, the chance of a rank up to `i`.
    cumulative: Vec<f64>,
    hot_keys: usize,
    hot_share: f64,
    moves_after: u64,
    /// `latest` only: keys that were put.
    put: AtomicUsize,
}

/// What a key is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A put that needs nothing to be there.
    Put,
    /// Anything else.
    Other,
}

/// One client's choices.
#[derive(Debug)]
pub struct Chooser {
    chosen: u64,
    client: u64,
    clients: u64,
}

impl Tables {
    pub(super) fn new(keys: &Keys) -> Tables {
        let count = usize::try_from(*keys.count.get_ref()).expect("u32 fits usize");
        let exponent = keys.exponent.as_ref().map_or(ZIPF_EXPONENT, |e| *e.get_ref());
        let is_skewed = keys.distribution.is_skewed();
        let hot_keys = keys.hot_keys.as_ref().map_or(count / HOT_ONE_IN, |hot| {
            usize::try_from(*hot.get_ref()).expect("u32 fits usize")
        });
        Tables {
            distribution: keys.distribution,
            cumulative: if is_skewed { zipf_table(count, exponent) } else { Vec::new() },
            hot_keys: hot_keys.clamp(1, count),
            hot_share: keys.hot_share.as_ref().map_or(HOT_SHARE, |share| *share.get_ref()),
            moves_after: keys.moves_after.as_ref().map_or(MOVES_AFTER, |n| (*n.get_ref()).into()),
            put: AtomicUsize::new(0),
        }
    }

    fn rank(&self, rng: &mut impl Rng) -> usize {
        let point: f64 = rng.random();
        self.cumulative.partition_point(|&reached| reached <= point).min(self.cumulative.len() - 1)
    }
}

impl Chooser {
    /// The choices of one of `clients`.
    pub fn new(client: u64, clients: u64) -> Chooser {
        Chooser { chosen: 0, client, clients }
    }

    /// An index, as often as the distribution says.
    pub fn choose(&mut self, keys: &KeySpace, purpose: Purpose, rng: &mut impl Rng) -> usize {
        let tables = &keys.choice;
        let count = keys.count;
        self.chosen += 1;
        match tables.distribution {
            Distribution::Sequential => {
                let place = self.client + (self.chosen - 1) * self.clients;
                remainder(place, count)
            }
            Distribution::Uniform => rng.random_range(0..count),
            Distribution::Zipf => tables.rank(rng),
            Distribution::ScrambledZipf => {
                // Ranks may share a key, as in YCSB.
                remainder(scattered(u64::try_from(tables.rank(rng)).expect("fits")), count)
            }
            Distribution::Latest if purpose == Purpose::Put => {
                tables.put.fetch_add(1, Ordering::Relaxed) % count
            }
            Distribution::Latest => {
                let last = tables.put.load(Ordering::Relaxed).max(1) - 1;
                (last % count + count - tables.rank(rng)) % count
            }
            Distribution::HotSpot => hot(tables, count, 0, rng),
            Distribution::MovingHotSpot => {
                let moves = remainder((self.chosen - 1) / tables.moves_after, count);
                hot(tables, count, moves * tables.hot_keys % count, rng)
            }
        }
    }
}

/// A key of the hot spot that begins at `first`, or another one.
fn hot(tables: &Tables, count: usize, first: usize, rng: &mut impl Rng) -> usize {
    let hot_keys = tables.hot_keys;
    let is_hot = hot_keys == count || rng.random_bool(tables.hot_share);
    let place =
        if is_hot { rng.random_range(0..hot_keys) } else { rng.random_range(hot_keys..count) };
    (first + place) % count
}

fn remainder(number: u64, count: usize) -> usize {
    let count = u64::try_from(count).expect("usize fits u64");
    usize::try_from(number % count).expect("less than a usize")
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
