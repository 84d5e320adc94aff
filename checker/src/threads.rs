//! Work on several threads, whose results come in the order of the work: nothing depends on who was
//! faster.

use std::ops::Range;

/// Below this many records a thread costs more than it saves.
pub(crate) const LARGE: usize = 20_000;

/// Does two things side by side, if there is much to do.
pub(crate) fn both<A: Send, B>(
    is_large: bool,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if !is_large {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().expect("checking does not panic"), other)
    })
}

/// Does something to each part of so many records, one part for each core.
pub(crate) fn in_parts<R: Send>(records: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let size = records.div_ceil(count(records));
    if size == records {
        return vec![work(0..records)];
    }
    std::thread::scope(|scope| {
        let work = &work;
        let start = |part| scope.spawn(move || work(part));
        let starts = (0..records).step_by(size);
        let working: Vec<_> = starts.map(|first| start(first..records.min(first + size))).collect();
        working.into_iter().map(|part| part.join().expect("checking does not panic")).collect()
    })
}

/// How many threads are worth it for so many records.
pub(crate) fn count(records: usize) -> usize {
    if records < LARGE {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_there_is_in_its_order() {
        for records in [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 7] {
            let parts = in_parts(records, Iterator::collect::<Vec<usize>>);
            assert!(parts.iter().map(Vec::len).is_sorted_by(|one, other| one >= other));
            assert!(parts.len() <= count(records));
            assert_eq!(parts.concat(), (0..records).collect::<Vec<usize>>());
        }
    }
}
