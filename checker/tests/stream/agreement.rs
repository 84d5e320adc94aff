//! Random histories, valid and damaged, in random orders and chunks: no verdict contradicts that of
//! the whole check.

use proptest::prelude::*;
use rusd_checker::Verdict;
use rusd_checker::history::record::Record;
use rusd_checker::stream::StreamOptions;
use rusd_checker::synthetic::{Dice, Mix, Shape};

use super::damages::damage;
use super::follow::{Chunks, follow_chunks};
use super::orders::delayed;
use super::{records, stream, whole};

/// Windows that are never too small for these histories, and some that are.
fn options(dice: &mut Dice) -> StreamOptions {
    let small = |dice: &mut Dice| usize::try_from(1 + dice.below(200)).expect("small");
    if dice.per_mille(500) {
        return StreamOptions { patience: dice.below(300), ..StreamOptions::default() };
    }
    StreamOptions {
        revisions_kept: small(dice),
        waiting_max: small(dice),
        unknown_max: small(dice),
        patience: dice.below(100),
    }
}

fn agrees(stream: &Verdict, whole: &Verdict) -> bool {
    match (stream, whole) {
        (Verdict::Unknown { .. }, _) => true,
        (stream, whole) => stream.name() == whole.name(),
    }
}

fn shape(seed: u64, is_plain: bool) -> Shape {
    let mut dice = Dice::new(seed);
    let lease = if is_plain { 0 } else { dice.below(4) };
    let mix = Mix {
        lease_grant: lease,
        lease_put: 4 * lease,
        lease_revoke: lease,
        lease_keep_alive: lease,
        compact: if is_plain { 0 } else { dice.below(2) },
        delete: 5 + dice.below(30),
        ..Shape::large().mix
    };
    Shape {
        clients: 1 + dice.below(20),
        keys: 2 + dice.below(60),
        unique_values: dice.per_mille(800),
        unknown_per_mille: dice.below(60),
        mix,
        observed: is_plain || dice.per_mille(800),
        lease_ttl: 1,
        step_ns_max: 1 << (16 + dice.below(13)),
        bug: None,
    }
}

fn made(seed: u64, is_plain: bool, damages: u64) -> (Vec<Record>, Dice) {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let operations = 100 + dice.below(400);
    let mut records = records(seed, shape(seed, is_plain), operations);
    for _ in 0..damages {
        damage(&mut records, &mut dice);
    }
    let longest = [0, 10, 60, 300][usize::try_from(dice.below(4)).expect("small")];
    (delayed(records, longest, &mut dice), dice)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_stream_never_contradicts_the_whole(
        seed in any::<u64>(),
        is_plain in any::<bool>(),
        damages in 0..3_u64,
    ) {
        let (records, mut dice) = made(seed, is_plain, damages);
        let whole = whole(&records);
        let verdict = stream(&records, options(&mut dice));
        prop_assert!(agrees(&verdict, &whole), "stream {verdict:#?}\nwhole {whole:#?}");
    }

    #[test]
    fn chunks_make_no_difference(seed in any::<u64>(), damages in 0..2_u64) {
        let (records, mut dice) = made(seed, true, damages);
        let whole = whole(&records);
        let options = StreamOptions { patience: dice.below(300), ..StreamOptions::default() };
        let verdict = follow_chunks(&records, Chunks::new(dice.roll()), options);
        prop_assert!(agrees(&verdict, &whole), "stream {verdict:#?}\nwhole {whole:#?}");
    }
}

fn cases() -> u32 {
    std::env::var("STREAM_HISTORIES").map_or(300, |text| text.parse().expect("a number"))
}

/// Where nothing is there that is left to the whole check, and the window is large, the stream
/// decides.
#[test]
fn of_plain_histories_the_stream_knows_what_the_whole_knows() {
    let mut of_damaged = [0, 0];
    for seed in 0..u64::from(cases()) {
        for damages in [0, 1] {
            let (records, _) = made(seed, true, damages);
            let whole = whole(&records);
            let verdict = stream(&records, StreamOptions::default());
            assert!(agrees(&verdict, &whole), "seed {seed}: {verdict:#?}, whole {whole:#?}");
            let is_decided = !matches!(verdict, Verdict::Unknown { .. });
            assert!(is_decided || damages > 0, "seed {seed}: {verdict:#?}");
            of_damaged[0] += u64::from(damages > 0 && whole.name() == "invalid");
            of_damaged[1] += u64::from(damages > 0 && verdict.name() == "invalid");
        }
    }
    let [invalid, found] = of_damaged;
    println!("{found} of {invalid} invalid histories were found invalid");
    assert!(found * 100 >= invalid * 97, "only {found} of {invalid} were found");
}
