//! Which keys a request means, from etcd's pair of key and range end.

use std::ops::Bound;

/// Start and end, as `BTreeMap` takes them.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A set of neighbouring keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRange<'a> {
    /// Exactly this key.
    One(&'a [u8]),
    /// From the first to before the second; the first is smaller.
    Span(&'a [u8], &'a [u8]),
    /// This key and all after it.
    From(&'a [u8]),
    /// None: the end is not after the start.
    Nothing,
}

impl<'a> KeyRange<'a> {
    /// No range end is one key; a range end of one zero byte is everything from the key on.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => KeyRange::One(key),
            [0] => KeyRange::From(key),
            end if end <= key => KeyRange::Nothing,
            end => KeyRange::Span(key, end),
        }
    }

    /// The bounds of what is left after `after`, or of everything. `None` if nothing is left.
    pub(crate) fn bounds<'b>(&'b self, after: Option<&'b [u8]>) -> Option<Bounds<'b>> {
        let (start, end) = match self {
            KeyRange::Nothing => return None,
            KeyRange::One(key) => (*key, Bound::Included(*key)),
            KeyRange::Span(key, end) => (*key, Bound::Excluded(*end)),
            KeyRange::From(key) => (*key, Bound::Unbounded),
        };
        let start = after.map_or(Bound::Included(start), Bound::Excluded);
        match (start, end) {
            (Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) if a >= b => None,
            both => Some(both),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_shapes() {
        assert_eq!(KeyRange::new(b"a", b""), KeyRange::One(b"a"));
        assert_eq!(KeyRange::new(b"a", b"\0"), KeyRange::From(b"a"));
        assert_eq!(KeyRange::new(b"a", b"b"), KeyRange::Span(b"a", b"b"));
        assert_eq!(KeyRange::new(b"b", b"a"), KeyRange::Nothing);
        assert_eq!(KeyRange::new(b"a", b"a"), KeyRange::Nothing);
    }

    #[test]
    fn nothing_is_left_after_the_last_key() {
        assert_eq!(KeyRange::new(b"a", b"").bounds(Some(b"a")), None);
        assert_eq!(KeyRange::new(b"a", b"c").bounds(Some(b"c")), None);
        assert!(KeyRange::new(b"a", b"c").bounds(Some(b"b")).is_some());
        assert!(KeyRange::new(b"a", b"\0").bounds(Some(b"b")).is_some());
    }
}
