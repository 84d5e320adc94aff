//! A thread's work against members that are there.

use std::sync::Arc;

use super::*;
use crate::clock::nanos;
use crate::generator::Seen;
use crate::keys::KeySpace;
use crate::pacing::{Share, Timetable};
use crate::stats::Counts;
use crate::workload::Workload;

const TEXT: &str = "duration = \"1s\"\nclients = 3\nkeys = { count = 9 }\nmix = { put = 1 }\n";

const TRACE: &str = "pacing = { mode = \"trace\", file = \"t\" }\n";

/// What the threads of a run share, when nobody records.
pub(super) fn shared() -> Shared {
    Shared {
        clock: Clock::start(),
        recorder: Recorder::off(),
        stats: Arc::new(Stats::default()),
        request_timeout: Duration::from_secs(5),
        overflow: Overflow::Wait,
        stop: CancellationToken::new(),
    }
}

/// Works on one connection to a member, until all is done.
async fn done(shared: &Shared, address: &str, source: Source) -> Result<Effort, PreloadError> {
    let workload = Workload::parse("test.toml", TEXT).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 7));
    let clients =
        (0..3).map(|client| (0, Generator::new(&workload, 1, client, Arc::clone(&seen)))).collect();
    let follow = crate::cluster::roster::fixed(&[address.to_owned()]);
    let part = Part { index: 0, follow, lanes: vec![0], clients, source };
    let working = start(shared.clone(), part).unwrap();
    tokio::task::spawn_blocking(|| working.join()).await.unwrap()
}

fn keys(range: std::ops::Range<usize>) -> Source {
    Source::Preload(Preload::new(range, Duration::ZERO))
}

/// A store that refuses for good, for want of space or because values are too large for it, was
/// asked for ever.
#[tokio::test]
async fn a_store_that_cannot_be_filled_is_given_up() {
    let address = crate::test_member::serve(4).await;
    let shared = shared();
    assert!(done(&shared, &address, keys(0..4)).await.is_ok());
    let PreloadError { index, last } = done(&shared, &address, keys(4..9)).await.unwrap_err();
    assert!((4..9).contains(&index), "{index}");
    assert_eq!(last, "Unknown: etcdserver: too many requests");
}

/// Every operation of a timetable is started, whoever was busy when it was due.
#[tokio::test]
async fn a_timetable_that_ends_is_done_whole() {
    let address = crate::test_member::serve(50).await;
    let shared = shared();
    let pacing = Workload::parse("test.toml", &format!("{TEXT}{TRACE}")).unwrap().pacing;
    let times = (0..60).map(|place| place / 20 * 1_000_000).collect();
    let second = Duration::from_secs(1);
    let timetable = Timetable::new(&pacing, times, second, shared.clock.now_ns(), Share::WHOLE, 1);
    let effort = done(&shared, &address, Source::Load(timetable)).await.unwrap();
    assert_eq!(shared.stats.counts(), Counts { ok: 50, fail: 10, unknown: 0 });
    let summary = Effort::summary(&[effort], second, 100);
    // Twenty at once are more than three clients.
    assert!(summary.late >= 30, "{summary:?}");
    assert_eq!((summary.dropped, summary.not_started), (0, 0));
}

/// Waiting before an operation is sent is waiting: coordinated omission is to leave it out.
#[tokio::test]
async fn late_operations_count_from_when_they_were_due() {
    let address = crate::test_member::serve(50).await;
    let age = Duration::from_secs(20);
    let shared = Shared { clock: Clock::after(age), ..shared() };
    let pacing = Workload::parse("test.toml", &format!("{TEXT}{TRACE}")).unwrap().pacing;
    let times = vec![0; 20].into();
    let timetable = Timetable::new(&pacing, times, age, 0, Share::WHOLE, 1);
    done(&shared, &address, Source::Load(timetable)).await.unwrap();
    let summary = shared.stats.summary(age);
    assert_eq!(summary.counts.ok, 20);
    assert!(summary.response_us.p50 >= 19_900_000, "{:?}", summary.response_us);
    assert!(summary.service_us.max < 19_900_000, "{:?}", summary.service_us);
}

/// What is due while nobody is free may be left out, and is counted.
#[tokio::test]
async fn what_is_too_much_is_dropped_if_it_may_be() {
    let address = crate::test_member::serve(50).await;
    let shared = Shared { overflow: Overflow::Drop, ..shared() };
    let pacing = Workload::parse("test.toml", &format!("{TEXT}{TRACE}")).unwrap().pacing;
    let second = Duration::from_secs(1);
    // Long after the connection stands.
    let times = vec![2_000_000_000; 20].into();
    let timetable = Timetable::new(&pacing, times, second, shared.clock.now_ns(), Share::WHOLE, 1);
    let effort = done(&shared, &address, Source::Load(timetable)).await.unwrap();
    let ok = shared.stats.counts().ok;
    let dropped = Effort::summary(&[effort], second, 100).dropped;
    assert!(ok <= 3 && ok + dropped == 20, "{ok} {dropped}");
}

/// Works on a timetable of five operations, until the load ends between two ticks, of which the later
/// one would have found `due` of them due.
async fn ended_between_ticks(due: usize) -> (u64, Counts) {
    let address = crate::test_member::serve(50).await;
    let shared = shared();
    let workload = Workload::parse("test.toml", &format!("{TEXT}{TRACE}")).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 7));
    let clients =
        (0..3).map(|client| (0, Generator::new(&workload, 1, client, Arc::clone(&seen)))).collect();
    let seconds = Duration::from_secs;
    let times = (0..5).map(|place| nanos(seconds(if place < due { 10 } else { 60 }))).collect();
    let timetable = Timetable::new(&workload.pacing, times, seconds(1), 0, Share::WHOLE, 1);
    let crew = Crew::new(shared.clone(), 0, 1, clients, Source::Load(timetable));
    let crew = Rc::new(RefCell::new(crew));
    let tasks = LocalSet::new();
    let ended = tasks.run_until(async {
        let route = route::Route::new(crate::cluster::roster::fixed(&[address]), 0);
        tokio::task::spawn_local(lane::run(Rc::clone(&crew), 0, route));
        while crew.borrow().current(0).is_none() {
            tokio::task::yield_now().await;
        }
        crew.borrow_mut().shared.clock = Clock::after(seconds(20));
        shared.stop.cancel();
        lane::tick(&crew, &timer::Timer::new().unwrap(), &shared.stop).await;
        crew.borrow_mut().finish().unwrap().not_started
    });
    (ended.await, shared.stats.counts())
}

/// What was due since the last tick was taken for what nobody came to start: one error in many runs.
#[tokio::test]
async fn what_is_due_at_the_end_is_started_if_a_client_is_free() {
    let counts = |ok| Counts { ok, fail: 0, unknown: 0 };
    assert_eq!(ended_between_ticks(1).await, (0, counts(1)));
    // Three clients are busy with the first ones.
    assert_eq!(ended_between_ticks(5).await, (2, counts(3)));
}

/// Clients of a server that answers nothing give up, and what they asked has an unknown outcome.
#[tokio::test]
async fn nobody_waits_longer_than_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || crate::wire::null::silent(&listener));
    let shared = Shared { request_timeout: Duration::from_millis(100), ..shared() };
    let pacing = Workload::parse("test.toml", TEXT).unwrap().pacing;
    let timetable = Timetable::new(&pacing, Arc::from([]), Duration::ZERO, 0, Share::WHOLE, 1);
    let stop = shared.stop.clone();
    let stats = Arc::clone(&shared.stats);
    tokio::spawn(async move {
        while stats.counts().unknown < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    });
    assert!(done(&shared, &address, Source::Load(timetable)).await.is_ok());
    let Counts { ok, fail, unknown } = shared.stats.counts();
    assert!(ok + fail == 0 && unknown >= 6, "{unknown}");
}
