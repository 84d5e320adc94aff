//! Timetables, against what their pacing promises.

use super::*;
use crate::workload::Workload;

fn pacing(text: &str) -> Pacing {
    let text = format!(
        "duration = \"10s\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ put = 1 }}\n\
         pacing = {{ {text} }}"
    );
    Workload::parse("test.toml", &text).unwrap().pacing
}

fn share(text: &str, share: Share) -> Timetable {
    Timetable::new(&pacing(text), Arc::from([5, 9, 9]), Duration::from_secs(10), 1000, share, 42)
}

/// What is due in the first `seconds`, in nanoseconds since the start.
fn due_within(timetable: &mut Timetable, seconds: u64) -> Vec<u64> {
    let mut times = Vec::new();
    while let Due::At(at_ns) = timetable.next()
        && at_ns - 1000 < seconds * NANOS_PER_SECOND
    {
        times.push(at_ns - 1000);
        timetable.advance();
    }
    times
}

fn counts(text: &str) -> Vec<usize> {
    let times = due_within(&mut share(text, Share::WHOLE), 10);
    assert!(times.is_sorted(), "{text}");
    let within = |second: u64| times.iter().filter(|at| **at / NANOS_PER_SECOND == second).count();
    (0..10).map(within).collect()
}

#[test]
fn a_closed_loop_has_no_times() {
    let mut timetable = share("mode = \"closed\"", Share::WHOLE);
    timetable.advance();
    assert_eq!((timetable.next(), timetable.is_closed()), (Due::Free, true));
}

#[test]
fn a_rate_alone_is_an_open_loop_whose_rounding_does_not_add_up() {
    let mut timetable = share("rate = 3", Share::WHOLE);
    let mut last = 0;
    for _ in 0..=3_000_000 {
        let Due::At(at_ns) = timetable.next() else { panic!("it is open") };
        last = at_ns - 1000;
        timetable.advance();
    }
    assert_eq!(last, 1_000_000 * NANOS_PER_SECOND);
}

#[test]
fn rates_are_kept_second_by_second() {
    for (text, expected) in [
        ("rate = 50", [50; 10]),
        ("mode = \"ramp\", rate = 0, to = 100", [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]),
        ("mode = \"ramp\", rate = 100, to = 0", [95, 85, 75, 65, 55, 45, 35, 25, 15, 5]),
        (
            "mode = \"step\", rate = 10, to = 50, steps = 5",
            [10, 10, 20, 20, 30, 30, 40, 40, 50, 50],
        ),
        (
            "mode = \"step\", rate = 9, to = 3, steps = 3, every = \"2s\"",
            [9, 9, 6, 6, 3, 3, 3, 3, 3, 3],
        ),
        (
            "mode = \"burst\", rate = 10, every = \"3s\", size = 40",
            [10, 10, 10, 50, 10, 10, 50, 10, 10, 50],
        ),
        ("mode = \"burst\", every = \"4s\", size = 7", [0, 0, 0, 0, 7, 0, 0, 0, 7, 0]),
    ] {
        for (second, (got, expected)) in counts(text).into_iter().zip(expected).enumerate() {
            // The first place is at the start of the first second, not at its end.
            assert!(got.abs_diff(expected) <= 1, "{text}: {got} in second {second}");
        }
    }
}

#[test]
fn a_wave_goes_up_and_down_and_keeps_its_mean() {
    let counts = counts("mode = \"sine\", rate = 100, amplitude = 100");
    assert!(counts[2] > 185 && counts[7] < 15, "{counts:?}");
    assert!(counts.iter().sum::<usize>().abs_diff(1000) <= 1, "{counts:?}");
}

#[test]
fn random_arrivals_have_their_rate_and_no_rhythm() {
    let times = due_within(&mut share("mode = \"poisson\", rate = 1000", Share::WHOLE), 10);
    // Six standard deviations around 10,000.
    assert!((9400..10_600).contains(&times.len()), "{}", times.len());
    // Of gaps without memory, 1/e are longer than their mean.
    let long = times.windows(2).filter(|pair| pair[1] - pair[0] > 1_000_000).count();
    assert!((3300..4060).contains(&long), "{long}");
}

#[test]
fn threads_share_a_timetable() {
    for text in [
        "rate = 7",
        "mode = \"ramp\", rate = 1, to = 30",
        "mode = \"burst\", rate = 5, every = \"1s\", size = 9",
        "mode = \"trace\", file = \"x\"",
    ] {
        let whole = due_within(&mut share(text, Share::WHOLE), 10);
        let part = |index| due_within(&mut share(text, Share { index, of: 3 }), 10);
        let mut parts = [part(0), part(1), part(2)].concat();
        parts.sort_unstable();
        assert_eq!(parts.len(), whole.len(), "{text}");
        // Curves are followed to within a millionth of an operation.
        let near = parts.iter().zip(&whole).all(|(part, whole)| part.abs_diff(*whole) < 1000);
        assert!(near, "{text}");
    }
}

#[test]
fn a_trace_ends() {
    let mut timetable = share("mode = \"trace\", file = \"x\"", Share::WHOLE);
    assert_eq!(due_within(&mut timetable, 10), [5, 9, 9]);
    assert_eq!(timetable.next(), Due::Never);
}
