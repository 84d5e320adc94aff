//! How long it takes to check transactions in Elle's manner.
//!
//! The promise is a million transactions on lists a second on one core if nothing is wrong, and a cycle
//! within a second in a component of ten thousand.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rusd_checker::elle::list_append::{Mop, check};
use rusd_checker::elle::{Element, Key, Options, Outcome, Transaction, Validity};
use rusd_checker::synthetic::Dice;

/// Clients at once.
const CLIENTS: u64 = 10;
/// Keys in use at once; a key is replaced when it has `APPENDS_MAX` elements, as in Elle's generator.
const KEYS: usize = 10;
const APPENDS_MAX: usize = 256;
const MOPS_MAX: u64 = 4;

/// Transactions of a store that is strictly serializable: each happens at once, between a call and a
/// return that overlap those of others.
fn clean(count: u64) -> Vec<Transaction<Mop>> {
    let mut dice = Dice::new(7);
    let mut keys: Vec<(u32, Vec<Element>)> = (0..10).map(|key| (key, Vec::new())).collect();
    let mut next_key = u32::try_from(KEYS).expect("few keys");
    let transaction = |own: u64| {
        let mut mops = Vec::new();
        for _ in 0..=dice.below(MOPS_MAX) {
            // Half of all goes to the first key, half of the rest to the second, and so on.
            let place = usize::try_from(dice.roll().trailing_zeros()).expect("small") % KEYS;
            let (key, list) = &mut keys[place];
            if dice.per_mille(500) {
                mops.push(Mop::Read { key: Key(*key), list: Some(list.clone()) });
                continue;
            }
            let element = Element(u32::try_from(list.len()).expect("few elements"));
            mops.push(Mop::Append { key: Key(*key), element });
            list.push(element);
            if list.len() == APPENDS_MAX {
                list.clear();
                *key = next_key;
                next_key += 1;
            }
        }
        // Event `2 n` is the call of the nth, the odd ones are returns, `CLIENTS` calls later.
        Transaction {
            process: own % CLIENTS,
            invoked: 2 * own,
            returned: Some(2 * (own + CLIENTS) - 1),
            outcome: Outcome::Ok,
            mops,
        }
    };
    (0..count).map(transaction).collect()
}

/// The same, but that each reads from a state that is up to some transactions old.
fn lagging(count: u64, lag: u64) -> Vec<Transaction<Mop>> {
    let mut history = clean(count);
    let mut dice = Dice::new(8);
    for transaction in &mut history {
        for mop in &mut transaction.mops {
            if let Mop::Read { list: Some(list), .. } = mop {
                let left =
                    list.len().saturating_sub(usize::try_from(dice.below(lag)).expect("small"));
                list.truncate(left);
            }
        }
    }
    history
}

/// One ring of writes over writes, closed by one anti-dependency, amid as many that are none of it.
fn ring(size: u32) -> Vec<Transaction<Mop>> {
    let append = |key, element| Mop::Append { key: Key(key), element: Element(element) };
    let mut history: Vec<Transaction<Mop>> = (0..=u64::from(size))
        .map(|own| Transaction {
            process: own,
            invoked: own,
            returned: Some(own + 1_000_000_000),
            outcome: Outcome::Ok,
            mops: Vec::new(),
        })
        .collect();
    for (place, transaction) in (0..size).zip(&mut history) {
        transaction.mops.push(append(0, place));
    }
    history[0].mops.push(append(1, 0));
    let last = usize::try_from(size - 1).expect("an index");
    history[last].mops.push(Mop::Read { key: Key(1), list: Some(Vec::new()) });
    let whole = Some((0..size).map(Element).collect());
    history[last + 1].mops.push(Mop::Read { key: Key(0), list: whole });
    history
}

fn elle(criterion: &mut Criterion) {
    let options = Options::default();
    let mut group = criterion.benchmark_group("elle");
    group.sample_size(10).measurement_time(Duration::from_secs(15));
    let history = clean(1_000_000);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("lists, 1M clean", |bencher| {
        bencher.iter(|| assert_eq!(check(&history, &options).valid, Validity::Valid));
    });
    group.throughput(Throughput::Elements(10_000));
    for (name, history) in [
        ("a component of 10k, one ring", ring(10_000)),
        ("a component of 10k, short cycles", lagging(10_000, 2)),
        ("a component of 10k, many cycles", lagging(10_000, 20)),
    ] {
        let report = check(&history, &options);
        assert_eq!(report.valid, Validity::Invalid);
        group.bench_function(name, |bencher| {
            bencher.iter(|| check(&history, &options).anomaly_types.len());
        });
    }
    group.finish();
}

criterion_group!(benches, elle);
criterion_main!(benches);
