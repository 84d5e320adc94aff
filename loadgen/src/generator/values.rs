//! Values: how long, and each one unlike all others.

use rand::Rng;
use rand_distr::{Distribution, LogNormal};

use crate::stats::approximate;
use crate::workload::{Sizes, Values};

/// Spread of log-normal lengths when the workload names none.
const SIGMA: f64 = 1.0;
const FILLER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Lengths of values, in bytes.
#[derive(Debug, Clone)]
pub(super) enum Lengths {
    Fixed(usize),
    Uniform(usize, usize),
    LogNormal(LogNormal<f64>, usize),
}

impl Lengths {
    pub(super) fn new(values: &Values) -> Lengths {
        let (size, longest) = (*values.size.get_ref(), *values.longest().get_ref());
        match values.distribution {
            Sizes::Fixed => Lengths::Fixed(size),
            Sizes::Uniform => Lengths::Uniform(size, longest),
            Sizes::LogNormal => {
                let sigma = values.sigma.as_ref().map_or(SIGMA, |sigma| *sigma.get_ref());
                let middle = approximate(u64::try_from(size).expect("usize fits u64"));
                let lengths = LogNormal::new(middle.ln(), sigma).expect("the workload is valid");
                Lengths::LogNormal(lengths, longest)
            }
        }
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> usize {
        match self {
            Lengths::Fixed(bytes) => *bytes,
            Lengths::Uniform(shortest, longest) => rng.random_range(*shortest..=*longest),
            Lengths::LogNormal(lengths, longest) => {
                let drawn = lengths.sample(rng).min(approximate(1 << 40));
                // Its whole part; a length is no more precise than that.
                let whole = std::time::Duration::from_secs_f64(drawn).as_secs();
                usize::try_from(whole).expect("under 2^40").min(*longest)
            }
        }
    }
}

/// A value that no other process and no other number gives, `bytes` long or as long as it must be.
pub(super) fn unique(process: u64, number: u64, bytes: usize) -> Vec<u8> {
    // Two numbers of up to 20 digits, and what stands around them.
    let mut value = Vec::with_capacity(bytes.max(44));
    value.push(b'p');
    write_number(&mut value, process);
    value.push(b'.');
    write_number(&mut value, number);
    if value.len() < bytes {
        value.push(b'.');
    }
    while value.len() < bytes {
        let missing = bytes - value.len();
        value.extend_from_slice(&FILLER[..missing.min(FILLER.len())]);
    }
    value
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    loop {
        out.push(b'0' + u8::try_from(rest % 10).expect("a digit"));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use toml::Spanned;

    use super::*;

    #[test]
    fn values_begin_with_what_makes_them_unique() {
        let text =
            |process, number, bytes| String::from_utf8(unique(process, number, bytes)).unwrap();
        assert_eq!(text(3, 17, 0), "p3.17");
        assert_eq!(text(u64::MAX, 0, 26), format!("p{}.0.ab", u64::MAX));
        assert_eq!(text(1, 1, 80).len(), 80);
    }

    #[test]
    fn lengths_are_where_the_distribution_has_them() {
        let lengths = |distribution, size, max| {
            let span = |bytes| Spanned::new(0..0, bytes);
            let sigma = Some(Spanned::new(0..0, 1.0));
            let values = Values { distribution, size: span(size), max: Some(span(max)), sigma };
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut drawn: Vec<usize> =
                (0..1001).map(|_| Lengths::new(&values).draw(&mut rng)).collect();
            drawn.sort_unstable();
            drawn
        };
        let uniform = lengths(Sizes::Uniform, 10, 19);
        assert_eq!((uniform[0], uniform[1000]), (10, 19));
        let skewed = lengths(Sizes::LogNormal, 100, 1000);
        assert!((85..115).contains(&skewed[500]), "{}", skewed[500]);
        // Below a standard deviation above the middle lie 84 of 100.
        assert!((235..320).contains(&skewed[841]), "{}", skewed[841]);
        assert_eq!(skewed[1000], 1000);
    }
}
