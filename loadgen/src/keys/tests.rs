//! What keys look like, and which are chosen.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::workload::Workload;

fn space(text: &str) -> KeySpace {
    let text = format!(
        "duration = \"1s\"\nclients = 1\nmix = {{ put = 1 }}\nkeys = {{ prefix = \"k/\", {text} }}"
    );
    KeySpace::new(&Workload::parse("test.toml", &text).unwrap().keys)
}

/// How often each of a hundred keys is chosen in so many choices.
fn chosen(text: &str, purpose: Purpose, choices: usize) -> Vec<usize> {
    let keys = space(&format!("count = 100, {text}"));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut chooser = Chooser::new(0, 1);
    let mut counts = vec![0; 100];
    for _ in 0..choices {
        counts[chooser.choose(&keys, purpose, &mut rng)] += 1;
    }
    counts
}

#[test]
fn keys_are_in_order_and_found_again() {
    for shape in ["padded", "hashed", "path"] {
        let keys = space(&format!("count = 101, shape = \"{shape}\""));
        for index in 0..101 {
            assert!(keys.key(index) < keys.key(index + 1), "{shape} {index}");
            assert_eq!(keys.index_of(keys.key(index).as_bytes()), Some(index), "{shape}");
            let (first, end) = keys.folder(index);
            assert!((first..end).contains(&keys.key(index)), "{shape} {index}");
        }
        assert_eq!(keys.key(101).to_string(), "k0");
        assert_eq!(keys.index_of(b"other/7"), None);
    }
    assert_eq!(space("count = 101").key(7).to_string(), "k/007");
    let paths = space("count = 101, shape = \"path\"");
    assert_eq!(paths.key(7).to_string(), "k/00/07");
    let folder = paths.folder(7);
    assert_eq!((folder.0.to_string(), folder.1.to_string()), ("k/00/".into(), "k/000".into()));
    assert_eq!(space("count = 9, shape = \"hashed\"").key(0).as_bytes().len(), 2 + HASH_DIGITS);
}

#[test]
fn prefix_ends() {
    assert_eq!(prefix_end(b"a"), b"b");
    assert_eq!(prefix_end(b"a\xff"), b"b");
    assert_eq!(prefix_end(b"\xff"), b"\0");
    assert_eq!(prefix_end(b""), b"\0");
}

#[test]
fn skew_is_what_the_distribution_says() {
    let uniform = chosen("distribution = \"uniform\"", Purpose::Other, 10_000);
    assert!(uniform.iter().all(|count| (50..200).contains(count)), "{uniform:?}");
    // Of 100 keys at exponent 0.99 the first has 19 %.
    let zipf = chosen("distribution = \"zipf\"", Purpose::Other, 10_000);
    assert!((1700..2200).contains(&zipf[0]), "{zipf:?}");
    let mut scrambled = chosen("distribution = \"scrambled_zipf\"", Purpose::Other, 10_000);
    assert!(scrambled[0] < 1000, "the first one is not the hot one: {scrambled:?}");
    scrambled.sort_unstable();
    assert!(scrambled[99] >= 1700, "{scrambled:?}");
    let hot = "distribution = \"hot_spot\", hot_keys = 5, hot_share = 0.8";
    let share: usize = chosen(hot, Purpose::Other, 10_000)[..5].iter().sum();
    assert!((7700..8300).contains(&share), "{share}");
}

#[test]
fn a_hot_spot_moves() {
    let moving =
        "distribution = \"moving_hot_spot\", hot_keys = 10, hot_share = 1.0, moves_after = 50";
    let early = chosen(moving, Purpose::Other, 50);
    assert_eq!(early[..10].iter().sum::<usize>(), 50);
    let later = chosen(moving, Purpose::Other, 100);
    assert_eq!(later[10..20].iter().sum::<usize>(), 50);
    assert_eq!(chosen(moving, Purpose::Other, 550)[..10].iter().sum::<usize>(), 100);
}

#[test]
fn clients_divide_a_sequence_among_them() {
    let keys = space("count = 7, distribution = \"sequential\"");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut choosers: Vec<Chooser> = (0..3).map(|client| Chooser::new(client, 3)).collect();
    let chosen: Vec<usize> =
        (0..9).map(|n| choosers[n % 3].choose(&keys, Purpose::Put, &mut rng)).collect();
    assert_eq!(chosen, [0, 1, 2, 3, 4, 5, 6, 0, 1]);
}

#[test]
fn what_was_put_last_is_read_most() {
    let keys = space("count = 50, distribution = \"latest\"");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut chooser = Chooser::new(0, 1);
    for expected in (0..50).chain(0..8) {
        assert_eq!(chooser.choose(&keys, Purpose::Put, &mut rng), expected);
    }
    let mut counts = vec![0; 50];
    for _ in 0..1000 {
        counts[chooser.choose(&keys, Purpose::Other, &mut rng)] += 1;
    }
    assert!(counts[7] > counts[6] && counts[6] > counts[8] && counts[7] > 150, "{counts:?}");
}

#[test]
fn every_key_is_reached() {
    for distribution in ["sequential", "uniform", "zipf", "latest", "hot_spot", "moving_hot_spot"] {
        let counts = chosen(&format!("distribution = \"{distribution}\""), Purpose::Other, 20_000);
        assert!(counts.iter().all(|count| *count > 0), "{distribution} {counts:?}");
    }
}
