//! Delta debugging: leaves out as many of some parts as can be.

/// What is left of `parts`: leaving out any one more makes `is_enough` false. Tries large runs of
/// them first. `is_enough` must hold for all of them.
pub(super) fn reduce<T: Clone>(
    mut parts: Vec<T>,
    is_enough: &mut impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    if parts.is_empty() || is_enough(&[]) {
        return Vec::new();
    }
    let mut size = parts.len().div_ceil(2);
    loop {
        let before = parts.len();
        let mut start = 0;
        while start < parts.len() && parts.len() > 1 {
            let end = (start + size).min(parts.len());
            let without: Vec<T> = [&parts[..start], &parts[end..]].concat();
            if !without.is_empty() && is_enough(&without) {
                parts = without;
            } else {
                start = end;
            }
        }
        if size == 1 && parts.len() == before {
            return parts;
        }
        // Once more with the smallest, for what became possible.
        size = size.div_ceil(2).min(parts.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_left() {
        let needed = [3, 77, 78];
        let mut tried = 0;
        let left = reduce((0..1000).collect(), &mut |parts: &[i32]| {
            tried += 1;
            needed.iter().all(|part| parts.contains(part))
        });
        assert_eq!(left, needed);
        assert!(tried < 100, "{tried} were tried");
    }

    #[test]
    fn nothing_is_left_if_nothing_is_needed() {
        assert!(reduce(vec![1, 2], &mut |_: &[i32]| true).is_empty());
        assert!(reduce(Vec::<i32>::new(), &mut |_| false).is_empty());
    }

    #[test]
    fn what_needs_another_is_left_out_after_it() {
        // 1 can only be left out without 2.
        let left = reduce(vec![1, 2, 3], &mut |parts: &[i32]| {
            parts.contains(&3) && (parts.contains(&1) || !parts.contains(&2))
        });
        assert_eq!(left, [3]);
    }
}
