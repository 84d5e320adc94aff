//! A read, against what its own transaction read and appended before.

use super::mop::Mop;
use crate::elle::numbering::{NONE, at};
use crate::elle::transaction::Element;

/// What a read should have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// The end of the list.
    pub(super) list: Vec<Element>,
    /// Nothing is known of what is before that.
    pub(super) prefix_unknown: bool,
}

/// What a read differs from, if it does. `previous` tells for each micro-operation the last one before
/// it with the same key, [`NONE`] if there is none.
pub(super) fn contradiction(mops: &[Mop], previous: &[u32], read: usize) -> Option<Expected> {
    let mut rest = mops[read].list();
    let mut place = previous[read];
    while place != NONE {
        match &mops[at(place)] {
            Mop::Append { element, .. } => match rest.split_last() {
                Some((last, before)) if last == element => rest = before,
                _ => return Some(expected(mops, previous, read)),
            },
            base @ Mop::Read { .. } => {
                return (rest != base.list()).then(|| expected(mops, previous, read));
            }
        }
        place = previous[at(place)];
    }
    None
}

/// What a read should have shown, by what its transaction did before.
fn expected(mops: &[Mop], previous: &[u32], read: usize) -> Expected {
    let mut appended = Vec::new();
    let mut place = previous[read];
    while place != NONE {
        match &mops[at(place)] {
            Mop::Append { element, .. } => appended.push(*element),
            base @ Mop::Read { .. } => {
                let mut list = base.list().to_vec();
                list.extend(appended.iter().rev());
                return Expected { list, prefix_unknown: false };
            }
        }
        place = previous[at(place)];
    }
    appended.reverse();
    Expected { list: appended, prefix_unknown: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elle::transaction::Key;

    fn append(element: u32) -> Mop {
        Mop::Append { key: Key(0), element: Element(element) }
    }

    fn read(list: &[u32]) -> Mop {
        let list = list.iter().map(|element| Element(*element)).collect();
        Mop::Read { key: Key(0), list: Some(list) }
    }

    /// What the last of them differs from.
    fn last(mops: &[Mop]) -> Option<(Vec<u32>, bool)> {
        let previous: Vec<u32> =
            (0..).take(mops.len()).map(|place: u32| place.wrapping_sub(1)).collect();
        let expected = contradiction(mops, &previous, mops.len() - 1)?;
        Some((expected.list.iter().map(|element| element.0).collect(), expected.prefix_unknown))
    }

    #[test]
    fn a_read_continues_the_last_one() {
        assert_eq!(last(&[read(&[1, 2]), read(&[1, 2])]), None);
        assert_eq!(last(&[read(&[1, 2]), append(3), read(&[1, 2, 3])]), None);
        assert_eq!(
            last(&[read(&[1]), append(2), read(&[1, 2]), append(3), read(&[1, 2, 3])]),
            None
        );
        assert_eq!(last(&[read(&[]), read(&[2])]), Some((vec![], false)));
        for wrong in [&[1, 2][..], &[0, 2, 3], &[1, 2, 3, 4], &[1], &[]] {
            let found = last(&[read(&[1, 2]), append(3), read(wrong)]);
            assert_eq!(found, Some((vec![1, 2, 3], false)), "{wrong:?}");
        }
    }

    #[test]
    fn without_an_earlier_read_only_the_end_is_known() {
        assert_eq!(last(&[read(&[7])]), None);
        assert_eq!(last(&[append(3), read(&[1, 2, 3])]), None);
        assert_eq!(last(&[append(3), append(4), read(&[3, 4])]), None);
        for wrong in [&[1, 2, 3][..], &[4], &[3], &[]] {
            let found = last(&[append(3), append(4), read(wrong)]);
            assert_eq!(found, Some((vec![3, 4], true)), "{wrong:?}");
        }
    }
}
