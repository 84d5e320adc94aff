//! How long it takes to check transactions in Elle's manner.
//!
//! The promise is a million transactions on lists a second on one core if nothing is wrong, and a cycle
//! within a second in a component of ten thousand.
//!
//! With `ELLE_TABLE=<file>` the figures are not criterion's: each history is checked a few times, and
//! what that took goes into a table with the CPU time beside it, which tells how busy the machine was.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use rusd_checker::elle::list_append::{Mop, check};
use rusd_checker::elle::{Element, Key, Options, Outcome, Report, Transaction, Validity};
use rusd_checker::synthetic::Dice;

type History = Vec<Transaction<Mop>>;

/// Clients at once.
const CLIENTS: u64 = 10;
/// Keys in use at once; a key is replaced when it has `APPENDS_MAX` elements, as in Elle's generator.
const KEYS: usize = 10;
const APPENDS_MAX: usize = 256;
const MOPS_MAX: u64 = 4;

/// Transactions of a store that is strictly serializable: each happens at once, between a call and a
/// return that overlap those of others.
fn clean(count: u64) -> History {
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

/// The same, but that each reads from a state that is up to some elements old, and that the first has
/// seen what the last appended: so nearly all are in one component.
fn lagging(count: u64, lag: u64) -> History {
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
    let own_key = 1_000_000;
    if let [first, .., last] = &mut history[..] {
        first.mops.push(read(own_key, 0..1));
        last.mops.push(append(own_key, 0));
    }
    history
}

fn append(key: u32, element: u32) -> Mop {
    Mop::Append { key: Key(key), element: Element(element) }
}

fn read(key: u32, elements: std::ops::Range<u32>) -> Mop {
    Mop::Read { key: Key(key), list: Some(elements.map(Element).collect()) }
}

/// Before the first return of those that run at once.
const END: u64 = 1_000_000_000;

/// Transactions that all run at once.
fn at_once(all: Vec<Vec<Mop>>) -> History {
    let transaction = |(own, mops)| Transaction {
        process: own,
        invoked: own,
        returned: Some(END + own),
        outcome: Outcome::Ok,
        mops,
    };
    (0..).zip(all).map(transaction).collect()
}

/// One ring of writes over writes, closed by what the first and the last one do to another key, to which
/// they append so many elements.
fn ring(size: u32, first: Mop, last: Mop, appended: u32) -> History {
    let mut all: Vec<Vec<Mop>> = (0..size).map(|place| vec![append(0, place)]).collect();
    all[0].push(first);
    if let Some(end) = all.last_mut() {
        end.push(last);
    }
    all.push(vec![read(0, 0..size), read(1, 0..appended)]);
    at_once(all)
}

/// Each reads what the one before appended, and the first was called when the last had returned.
fn ring_in_time(size: u32) -> History {
    let link = |place: u32| vec![read(place, 0..1), append(place + 1, 0)];
    let mut history = at_once((0..size).map(link).collect());
    if let [first, .., last] = &mut history[..] {
        first.mops.remove(0);
        last.returned = Some(END / 2);
        first.invoked = END / 2 + 1;
    }
    history
}

/// A ring closed by one anti-dependency, with a tail at each of its transactions that leads back to the
/// first over two anti-dependencies in a row. (Elle's test `unfindable-g-single` is such a history, on
/// which its search for the ring runs out of time.)
fn ring_amid_tails(size: u32, tail: u32) -> History {
    let (ring_key, closing_key) = (0, 1);
    let tail_key = |place: u32| 2 + 2 * place;
    let mut all: Vec<Vec<Mop>> =
        (0..size).map(|place| vec![append(ring_key, place), append(tail_key(place), 0)]).collect();
    all[0][1] = append(closing_key, 0);
    if let Some(end) = all.last_mut() {
        end[1] = read(closing_key, 0..0);
    }
    for place in 1..size - 1 {
        all.extend((1..tail - 1).map(|element| vec![append(tail_key(place), element)]));
        all.push(vec![read(tail_key(place), 0..tail - 1), read(tail_key(place) + 1, 0..0)]);
        all.push(vec![append(tail_key(place) + 1, 0), read(ring_key, 0..0)]);
    }
    all.push(vec![read(ring_key, 0..size)]);
    at_once(all)
}

/// Histories with ten thousand transactions or more in one component.
fn components() -> Vec<(&'static str, History)> {
    let closed = |first, last, appended| ring(10_000, first, last, appended);
    vec![
        ("one ring, closed by an anti-dependency", closed(append(1, 0), read(1, 0..0), 1)),
        ("one ring, closed by a read", closed(read(1, 0..1), append(1, 0), 1)),
        ("one ring of writes over writes", closed(append(1, 1), append(1, 0), 2)),
        ("one ring, closed by real time", ring_in_time(10_000)),
        ("a ring of 500 amid 10,000 in tails", ring_amid_tails(500, 21)),
        ("reads up to 2 elements old", lagging(10_000, 2)),
        ("reads up to 20 elements old", lagging(10_000, 20)),
        ("reads up to 256 elements old", lagging(10_000, 256)),
    ]
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
    drop(history);
    group.throughput(Throughput::Elements(10_000));
    for (name, history) in components() {
        group.bench_function(format!("a component of 10k: {name}"), |bencher| {
            bencher.iter(|| assert_eq!(check(&history, &options).valid, Validity::Invalid));
        });
    }
    group.finish();
}

criterion_group!(benches, elle);

fn main() {
    if let Some(path) = std::env::var_os("ELLE_TABLE") {
        std::fs::write(path, table()).expect("the table can be written");
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}

/// How often each history is checked for the table.
const REPETITIONS: usize = 7;

/// What a check took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    wall: Duration,
    /// User and system time of this thread, which does all of it.
    cpu: Duration,
}

/// The median and the longest of several checks, by wall time.
fn measure(history: &[Transaction<Mop>]) -> (Report, Took, Took) {
    let options = Options::default();
    let mut report = check(history, &options);
    let mut all: Vec<Took> = (0..REPETITIONS)
        .map(|_| {
            let (start, cpu) = (Instant::now(), cpu_time());
            report = check(history, &options);
            Took { wall: start.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
        })
        .collect();
    all.sort_unstable();
    (report, all[REPETITIONS / 2], all[REPETITIONS - 1])
}

/// CPU time of this thread so far. Linux only.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let on_cpu = text.split_whitespace().next().expect("the first figure");
    Duration::from_nanos(on_cpu.parse().expect("nanoseconds"))
}

fn table() -> String {
    let mut table = format!(
        "Checks of transactions on lists in Elle's manner, on one core; strict serializability is \
         expected. Times in seconds: the median of {REPETITIONS} checks (and the longest), wall and \
         CPU. Reading a history is not part of it.\n\n\
         | history | transactions | wall | CPU | transactions a second of CPU | found |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    row(&mut table, "clean, ten clients", &clean(1_000_000));
    for (name, history) in components() {
        row(&mut table, &format!("one component: {name}"), &history);
    }
    table
}

fn row(table: &mut String, name: &str, history: &[Transaction<Mop>]) {
    let (report, median, longest) = measure(history);
    let seconds = |of: fn(&Took) -> Duration| {
        format!("{:.3} ({:.3})", of(&median).as_secs_f64(), of(&longest).as_secs_f64())
    };
    let cpu_ns = median.cpu.as_nanos().max(1);
    let count = u128::try_from(history.len()).expect("usize fits u128");
    let rate = count * 1_000_000_000 / cpu_ns;
    let mut found: Vec<String> = report.anomaly_types.iter().map(ToString::to_string).collect();
    found.extend(report.undecided.iter().map(|anomaly| format!("{anomaly} undecided")));
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    let (wall, cpu) = (seconds(|took| took.wall), seconds(|took| took.cpu));
    writeln!(table, "| {name} | {} | {wall} | {cpu} | {rate} | {found} |", history.len())
        .expect("a string can be written to");
}
