//! Numbers of transactions, nodes and writes.
//!
//! Tables hold them in 32 bits: a million transactions make a dozen tables, and half the size is half
//! the time. Code that indexes a table turns them into places here.

/// No transaction, no write, no place.
pub(crate) const NONE: u32 = u32::MAX;

/// The place in a table that a number names.
#[inline]
pub(crate) fn at(number: u32) -> usize {
    usize::try_from(number).expect("an index has at least 32 bits")
}

/// The number of a place in a table.
#[inline]
pub(crate) fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 of anything")
}

/// Running totals of `counts`, with a zero before them: where the entries of each begin.
pub(crate) fn starts(counts: &[u32]) -> Vec<u32> {
    let mut starts = Vec::with_capacity(counts.len() + 1);
    let mut total: u32 = 0;
    starts.push(total);
    for count in counts {
        total = total.checked_add(*count).expect("fewer than 2^32 of anything");
        starts.push(total);
    }
    starts
}
