//! What load can be offered: when, on which keys, with which values.

use std::time::Duration;

use toml::Spanned;

use super::{Broken, Rules, broken};
use crate::generator::TXN_VALUES_MAX;
use crate::pacing;
use crate::workload::{Distribution, Keys, Mix, Pacing, PacingMode, Sizes, Values};

/// etcd refuses larger requests, unless it is told otherwise.
const REQUEST_BYTES_MAX: usize = 3 << 19;
/// What a key and the frame around a put need at most.
const PUT_OVERHEAD_BYTES: usize = 1 << 10;
/// Most elements that a list may have: all of them are in each request.
const LIST_ELEMENTS_MAX: u32 = 10_000;

/// A field of the pacing: its name, whether it is there, and where.
type Field = (&'static str, Option<std::ops::Range<usize>>);

fn field<T>(name: &'static str, field: Option<&Spanned<T>>) -> Field {
    (name, field.map(Spanned::span))
}

/// Fields that a mode must have, and those that it may have.
fn fields(mode: PacingMode) -> (&'static [&'static str], &'static [&'static str]) {
    match mode {
        PacingMode::Closed => (&[], &[]),
        PacingMode::Constant | PacingMode::Poisson => (&["rate"], &[]),
        PacingMode::Ramp => (&["rate", "to"], &[]),
        PacingMode::Step => (&["rate", "to", "steps"], &["every"]),
        PacingMode::Sine => (&["rate", "amplitude"], &["every"]),
        PacingMode::Burst => (&["every", "size"], &["rate"]),
        PacingMode::Trace => (&["file"], &[]),
    }
}

impl Rules<'_> {
    pub(super) fn pacing(&self) -> Broken {
        let pacing = &self.workload.pacing;
        Self::pacing_fields(pacing)
            .or_else(|| Self::pacing_numbers(pacing))
            .or_else(|| self.pacing_trace(pacing))
    }

    fn pacing_fields(pacing: &Pacing) -> Broken {
        let mode = pacing.mode();
        let name = mode.name();
        let all = [
            field("rate", pacing.rate.as_ref()),
            field("to", pacing.to.as_ref()),
            field("steps", pacing.steps.as_ref()),
            field("amplitude", pacing.amplitude.as_ref()),
            field("size", pacing.size.as_ref()),
            field("every", pacing.every.as_ref()),
            field("file", pacing.file.as_ref()),
        ];
        let (needed, allowed) = fields(mode);
        for (field, span) in all {
            match span {
                None if needed.contains(&field) => {
                    let span = pacing.mode.as_ref().map_or(0..0, Spanned::span);
                    return broken(span, format!("{name} pacing needs `{field}`"));
                }
                Some(span) if mode == PacingMode::Closed && field == "rate" => {
                    let message = "a closed loop has no rate; write mode = \"constant\" or leave \
                                   mode out";
                    return broken(span, message.to_owned());
                }
                Some(span) if !needed.contains(&field) && !allowed.contains(&field) => {
                    return broken(span, format!("{name} pacing has no `{field}`"));
                }
                _ => {}
            }
        }
        let of_open_loops = [
            field("max_in_flight", pacing.max_in_flight.as_ref()),
            field("overflow", pacing.overflow.as_ref()),
        ];
        let found = of_open_loops.into_iter().find_map(|(field, span)| Some((field, span?)));
        let (field, span) = found.filter(|_| mode == PacingMode::Closed)?;
        let message = format!("a closed loop has as many in flight as clients, and no `{field}`");
        broken(span, message)
    }

    fn pacing_numbers(pacing: &Pacing) -> Broken {
        let mode = pacing.mode();
        // Only a ramp may begin or end with nothing.
        let rates = [("rate", &pacing.rate), ("to", &pacing.to)];
        for (name, rate) in rates.iter().filter(|_| mode != PacingMode::Ramp) {
            if let Some(rate) = rate.as_ref().filter(|rate| *rate.get_ref() == 0) {
                let message = format!("{name} must be at least 1 operation per second");
                return broken(rate.span(), message);
            }
        }
        if let (PacingMode::Ramp, Some(rate), Some(to)) = (mode, &pacing.rate, &pacing.to)
            && *rate.get_ref() == 0
            && *to.get_ref() == 0
        {
            return broken(to.span(), "a ramp from 0 to 0 does nothing".to_owned());
        }
        for (name, count) in [("size", &pacing.size), ("max_in_flight", &pacing.max_in_flight)] {
            if let Some(count) = count.as_ref().filter(|count| *count.get_ref() == 0) {
                return broken(count.span(), format!("{name} must be at least 1"));
            }
        }
        if let Some(steps) = pacing.steps.as_ref().filter(|steps| *steps.get_ref() < 2) {
            return broken(steps.span(), "steps must be at least 2: the first and the last".into());
        }
        if let Some(every) = pacing.every.as_ref().filter(|every| every.get_ref().is_zero()) {
            return broken(every.span(), "every must be longer than 0".to_owned());
        }
        let (amplitude, rate) = (pacing.amplitude.as_ref()?, pacing.rate.as_ref()?);
        (amplitude.get_ref() > rate.get_ref()).then(|| {
            let message = format!("at most the rate, {}: a rate is never below 0", rate.get_ref());
            (amplitude.span(), message)
        })
    }

    fn pacing_trace(&self, pacing: &Pacing) -> Broken {
        let file = pacing.file.as_ref()?;
        let times = match pacing::read_trace(file.get_ref()) {
            Ok(times) => times,
            Err(error) => return broken(file.span(), error.to_string()),
        };
        let duration = *self.workload.duration.get_ref();
        let first = Duration::from_nanos(times.first().copied().unwrap_or(0));
        (first >= duration).then(|| {
            let message = format!("its first time is {first:?}, and the load lasts {duration:?}");
            (file.span(), message)
        })
    }

    pub(super) fn keys(&self) -> Broken {
        let keys = &self.workload.keys;
        if *keys.count.get_ref() == 0 {
            return broken(keys.count.span(), "count must be at least 1".to_owned());
        }
        Self::skewed_keys(keys).or_else(|| Self::hot_keys(keys))
    }

    fn skewed_keys(keys: &Keys) -> Broken {
        let exponent = keys.exponent.as_ref()?;
        if !keys.distribution.is_skewed() {
            let message = "only zipf, scrambled_zipf and latest keys have an exponent";
            return broken(exponent.span(), message.to_owned());
        }
        (!(0.0..=10.0).contains(exponent.get_ref()))
            .then(|| (exponent.span(), "exponent must be 0 to 10".to_owned()))
    }

    fn hot_keys(keys: &Keys) -> Broken {
        let fields = [
            field("hot_keys", keys.hot_keys.as_ref()),
            field("hot_share", keys.hot_share.as_ref()),
            field("moves_after", keys.moves_after.as_ref()),
        ];
        for (name, span) in fields {
            let Some(span) = span else { continue };
            if !keys.distribution.is_hot() {
                let message = format!("only hot_spot and moving_hot_spot keys have `{name}`");
                return broken(span, message);
            }
            if name == "moves_after" && keys.distribution != Distribution::MovingHotSpot {
                return broken(span, "only a moving_hot_spot moves".to_owned());
            }
        }
        let count = *keys.count.get_ref();
        if let Some(hot) = keys.hot_keys.as_ref().filter(|hot| !(1..=count).contains(hot.get_ref()))
        {
            return broken(hot.span(), format!("hot_keys must be 1 to {count}, the count of keys"));
        }
        let is_zero = |moves: &&Spanned<u32>| *moves.get_ref() == 0;
        if let Some(moves) = keys.moves_after.as_ref().filter(is_zero) {
            return broken(moves.span(), "moves_after must be at least 1".to_owned());
        }
        let share = keys.hot_share.as_ref()?;
        (!(0.0..=1.0).contains(share.get_ref()))
            .then(|| (share.span(), "hot_share must be 0 to 1".to_owned()))
    }

    pub(super) fn values(&self) -> Broken {
        let values = &self.workload.values;
        Self::value_sizes(values).or_else(|| self.largest_value(values))
    }

    fn value_sizes(values: &Values) -> Broken {
        let Values { distribution, size, max, sigma } = values;
        if let Some(sigma) = sigma {
            if *distribution != Sizes::LogNormal {
                return broken(sigma.span(), "only log_normal values have `sigma`".to_owned());
            }
            if !(0.0..=5.0).contains(sigma.get_ref()) {
                return broken(sigma.span(), "sigma must be 0 to 5".to_owned());
            }
        }
        match (distribution, max) {
            (Sizes::Fixed, Some(max)) => {
                let message = "values are `fixed`, and have no `max`; write distribution = \
                               \"uniform\" or \"log_normal\"";
                broken(max.span(), message.to_owned())
            }
            (Sizes::Uniform | Sizes::LogNormal, None) => {
                broken(size.span(), "values that are not fixed need `max`".to_owned())
            }
            (_, Some(max)) if max.get_ref() < size.get_ref() => {
                broken(max.span(), "max must be at least size".to_owned())
            }
            (Sizes::LogNormal, _) if *size.get_ref() == 0 => {
                broken(size.span(), "the middle size must be at least 1B".to_owned())
            }
            _ => None,
        }
    }

    /// A value that no request can carry would be refused each time.
    fn largest_value(&self, values: &Values) -> Broken {
        let size = values.longest();
        let mix = self.workload.mix.get_ref();
        let has_many = mix.txn_multi > 0 || mix.txn_write_read > 0;
        let in_one_request = if has_many { TXN_VALUES_MAX } else { 1 };
        let overhead = PUT_OVERHEAD_BYTES + self.workload.keys.prefix.len();
        let largest = (REQUEST_BYTES_MAX / in_one_request).saturating_sub(overhead);
        (*size.get_ref() > largest).then(|| {
            let message = format!(
                "too large: a request holds up to {in_one_request} of them in {REQUEST_BYTES_MAX} \
                 bytes, so at most {largest}B"
            );
            (size.span(), message)
        })
    }

    pub(super) fn mix(&self) -> Broken {
        let Mix { lease_grant, put_lease, lease_keep_alive, lease_revoke, .. } =
            self.workload.mix.get_ref();
        let span = self.workload.mix.span();
        let weights = self.workload.mix.get_ref().weights();
        let sum: u64 = weights.iter().map(|&(_, weight)| u64::from(weight)).sum();
        if sum == 0 {
            return broken(span, "every weight is 0: there is nothing to do".to_owned());
        }
        if sum > u64::from(u32::MAX) {
            return broken(span, format!("the weights add up to {sum}: at most {}", u32::MAX));
        }
        if *lease_grant == 0 && [put_lease, lease_keep_alive, lease_revoke] != [&0; 3] {
            return broken(span, "leases are used but never granted: set lease_grant".to_owned());
        }
        None
    }

    pub(super) fn lists(&self) -> Broken {
        let lists = &self.workload.lists;
        if *lists.count.get_ref() == 0 {
            return broken(lists.count.span(), "count must be at least 1".to_owned());
        }
        let elements = &lists.elements_max;
        (!(1..=LIST_ELEMENTS_MAX).contains(elements.get_ref()))
            .then(|| (elements.span(), format!("elements_max must be 1 to {LIST_ELEMENTS_MAX}")))
    }
}
