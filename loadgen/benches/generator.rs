//! What the generator itself costs: CPU time per put, and puts per second from one core, against a
//! server that answers at once.
//!
//!   cargo bench -p rusd-loadgen --bench generator
//!
//! The server is a process of its own on another core; so all CPU time of this process is the
//! generator's, with the recording of histories and whatever else it does. Three ways are measured:
//! the load's own (`wire`), the crate h2 without anything around it, and a stock client (tonic).
//! Prints a table in Markdown.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use prost::Message;
use rusd_checker::history::record::{FORMAT_VERSION, Header, Put, Request};
use rusd_checker::history::text::Text;
use rusd_loadgen::client::etcd::Client;
use rusd_loadgen::clock::{Clock, nanos};
use rusd_loadgen::cluster::roster;
use rusd_loadgen::driver::{self, Effort, EffortSummary, Part, Shared, Source};
use rusd_loadgen::generator::{Generator, Seen};
use rusd_loadgen::keys::KeySpace;
use rusd_loadgen::pacing::{Share, Timetable};
use rusd_loadgen::recorder::{Recorder, Writing};
use rusd_loadgen::stats::{Stats, Summary, approximate};
use rusd_loadgen::wire::null;
use rusd_loadgen::workload::{Overflow, Workload};
use rusd_proto::etcdserverpb::{PutRequest, PutResponse};
use tokio_util::sync::CancellationToken;

const SERVES: &str = "serves";
/// Length of each measurement.
const LASTS: Duration = Duration::from_secs(3);
/// Time to connect before that.
const LEAD: Duration = Duration::from_millis(100);
const REPETITIONS: usize = 5;
const IN_FLIGHT: u32 = 256;

#[expect(clippy::print_stdout, reason = "a table is what it makes")]
fn main() {
    if std::env::args().any(|argument| argument == SERVES) {
        pin(1);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        println!("{}", listener.local_addr().expect("it is bound"));
        null::serve(&listener).expect("it accepts");
    }
    let server = Server::start();
    pin(0);
    println!(
        "| way | connections | offered | recorded | puts/s | CPU us per put | lag p50 us | lag p99 us | response p50 us | p99 us |"
    );
    println!("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|");
    let mut recording = Vec::new();
    for connections in [1, 4] {
        for rate in [None, Some(100_000)] {
            // Interleaved, so that what changes on the machine changes for both.
            let mut rows: [Vec<Row>; 2] = Default::default();
            for _ in 0..REPETITIONS {
                for (rows, is_recorded) in rows.iter_mut().zip([false, true]) {
                    rows.push(wire(&server.address, connections, rate, is_recorded));
                }
            }
            recording.push(what_recording_costs(&rows));
            for rows in rows {
                print(middle(rows));
            }
        }
    }
    print(middle((0..REPETITIONS).map(|_| bare_h2(&server.address)).collect()));
    print(middle((0..REPETITIONS).map(|_| stock(&server.address)).collect()));
    println!("\nRecorded beside not recorded, medians of {REPETITIONS} neighbouring pairs:\n");
    println!("| connections | offered | CPU per put | puts/s |\n|--:|--:|--:|--:|");
    for line in recording {
        println!("{line}");
    }
}

/// What recording changes, by the median of what it changes in each pair of neighbours.
fn what_recording_costs([without, with]: &[Vec<Row>; 2]) -> String {
    let change = |value: fn(&Row) -> f64| {
        let pairs = with.iter().zip(without);
        let mut ratios: Vec<f64> =
            pairs.map(|(with, without)| value(with) / value(without)).collect();
        ratios.sort_by(f64::total_cmp);
        (ratios[ratios.len() / 2] - 1.0) * 100.0
    };
    let (cpu, pace) = (change(|row| row.cpu_us), change(|row| row.puts_per_s));
    let Row { connections, .. } = with[0];
    format!("| {connections} | {} | {cpu:+.1} % | {pace:+.1} % |", with[0].offered())
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let own = std::env::current_exe().expect("we run");
        let mut child =
            Command::new(own).arg(SERVES).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut address = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        out.read_line(&mut address).expect("it says where it serves");
        Server { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core).expect("there are not that many");
    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &cores) {
        eprintln!("cannot have core {core} alone: {error}");
    }
}

/// One measurement.
struct Row {
    way: &'static str,
    connections: u32,
    rate: Option<u32>,
    is_recorded: bool,
    puts_per_s: f64,
    cpu_us: f64,
    lag_us: [u64; 2],
    response_us: [u64; 2],
}

impl Row {
    fn offered(&self) -> String {
        self.rate.map_or("as fast as it can".to_owned(), |rate| format!("{rate}/s"))
    }
}

fn middle(mut rows: Vec<Row>) -> Row {
    rows.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    rows.swap_remove(rows.len() / 2)
}

#[expect(clippy::print_stdout, reason = "a table is what it makes")]
fn print(row: Row) {
    let offered = row.offered();
    let Row { way, connections, is_recorded, puts_per_s, cpu_us, lag_us, response_us, .. } = row;
    let recorded = if is_recorded { "yes" } else { "no" };
    println!(
        "| {way} | {connections} | {offered} | {recorded} | {puts_per_s:.0} | {cpu_us:.2} | {} | {} | {} | {} |",
        lag_us[0], lag_us[1], response_us[0], response_us[1]
    );
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts");
    let time = |value: TimeVal| {
        Duration::from_secs(u64::try_from(value.tv_sec()).expect("positive"))
            + Duration::from_micros(u64::try_from(value.tv_usec()).expect("positive"))
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn wire(address: &str, connections: u32, rate: Option<u32>, is_recorded: bool) -> Row {
    let folder = tempfile::tempdir().expect("there is room");
    let (recorder, writing) = if is_recorded {
        let header = Header {
            version: FORMAT_VERSION,
            workload: "bench".to_owned(),
            seed: 1,
            system: "null".to_owned(),
            first_revision: 1,
            initial: Vec::new(),
        };
        let path = folder.path().join("history.jsonl");
        let (recorder, writing) = Recorder::start(&path, &header).expect("there is room");
        (recorder, Some(writing))
    } else {
        (Recorder::off(), None)
    };
    let before = cpu();
    let (summary, effort, puts) = offer(address, connections, rate, recorder);
    drop(writing.map(Writing::finish));
    let cpu_us = cpu().saturating_sub(before).as_secs_f64() * 1e6 / approximate(puts);
    Row {
        way: "wire",
        connections,
        rate,
        is_recorded,
        puts_per_s: summary.per_second,
        cpu_us,
        lag_us: [effort.lag_us.p50, effort.lag_us.p99],
        response_us: [summary.response_us.p50, summary.response_us.p99],
    }
}

/// Offers puts from one thread, as a run does.
fn offer(
    address: &str,
    connections: u32,
    rate: Option<u32>,
    recorder: Recorder,
) -> (Summary, EffortSummary, u64) {
    // An open loop may have more in flight, so that a hiccup is caught up with.
    let clients = if rate.is_some() { 16 * IN_FLIGHT } else { IN_FLIGHT };
    let pacing = rate.map_or(String::new(), |rate| format!("pacing = {{ rate = {rate} }}\n"));
    let text = format!(
        "duration = \"1s\"\nclients = {clients}\nkeys = {{ count = 100000 }}\n\
         mix = {{ put = 1 }}\nvalues = {{ size = \"64B\" }}\n{pacing}"
    );
    let workload = Workload::parse("bench.toml", &text).expect("it is right");
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 1));
    let clock = Clock::start();
    let stop = CancellationToken::new();
    let stats = Arc::new(Stats::default());
    let shared = Shared {
        clock,
        recorder,
        stats: Arc::clone(&stats),
        request_timeout: Duration::from_secs(5),
        overflow: Overflow::Wait,
        stop: stop.clone(),
    };
    let lanes: Vec<usize> = (0..connections).map(index).collect();
    let clients = (0..clients).map(|client| {
        let generator = Generator::new(&workload, 1, client.into(), Arc::clone(&seen));
        (index(client % connections), generator)
    });
    let timetable = Timetable::new(
        &workload.pacing,
        Arc::from([]),
        LASTS,
        clock.now_ns() + nanos(LEAD),
        Share::WHOLE,
        1,
    );
    let follow = roster::fixed(&[address.to_owned()]);
    let source = Source::Load(timetable);
    let part = Part { index: 0, follow, lanes, clients: clients.collect(), source };
    let working = driver::start(shared, part).expect("there are threads");
    std::thread::sleep(LEAD);
    let start = Instant::now();
    stats.measure(clock.now_ns()..u64::MAX);
    std::thread::sleep(LASTS);
    stop.cancel();
    let elapsed = start.elapsed();
    let effort = working.join().expect("it is no preload");
    let summary = stats.summary(elapsed);
    let effort = Effort::summary(&[effort], elapsed, summary.response_us.p50);
    (summary, effort, stats.counts().ok)
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("u32 fits usize")
}

/// As many clients as there are in flight, each of which puts again and again until the time is up,
/// and says how often.
fn clients<Asking, Putting>(
    way: &'static str,
    connections: u32,
    connect: impl FnOnce() -> Asking,
) -> Row
where
    Asking: Future<Output = Vec<Putting>>,
    Putting: Future<Output = u64> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tasks = tokio::task::LocalSet::new();
    let (before, start) = (cpu(), Instant::now());
    let puts = tasks.block_on(&runtime.expect("there are threads"), async {
        let putting: Vec<_> = connect().await.into_iter().map(tokio::task::spawn_local).collect();
        let mut puts = 0;
        for task in putting {
            puts += task.await.expect("it does not panic");
        }
        approximate(puts)
    });
    Row {
        way,
        connections,
        rate: None,
        is_recorded: false,
        puts_per_s: puts / start.elapsed().as_secs_f64(),
        cpu_us: cpu().saturating_sub(before).as_secs_f64() * 1e6 / puts,
        lag_us: [0; 2],
        response_us: [0; 2],
    }
}

fn stock(address: &str) -> Row {
    const CONNECTIONS: u32 = 4;
    clients("tonic", CONNECTIONS, async || {
        let mut connected = Vec::new();
        for _ in 0..CONNECTIONS {
            connected.push(Client::connect(address).await.expect("it serves"));
        }
        let end = Instant::now() + LASTS;
        let put = |place: u32| {
            let client = connected[index(place % CONNECTIONS)].clone();
            async move {
                let mut puts = 0;
                while Instant::now() < end {
                    client.execute(&Request::Put(a_put())).await.expect("it answers");
                    puts += 1;
                }
                puts
            }
        };
        (0..IN_FLIGHT).map(put).collect()
    })
}

fn bare_h2(address: &str) -> Row {
    const CONNECTIONS: u32 = 4;
    clients("h2", CONNECTIONS, async || {
        let mut connected = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it serves");
            stream.set_nodelay(true).expect("it is a socket");
            let (sender, connection) = h2::client::handshake(stream).await.expect("it serves");
            tokio::task::spawn_local(connection);
            connected.push(sender);
        }
        let uri = format!("http://{address}/etcdserverpb.KV/Put");
        let end = Instant::now() + LASTS;
        let put = |place: u32| {
            let sender = connected[index(place % CONNECTIONS)].clone();
            let uri: http::Uri = uri.parse().expect("it is one");
            async move {
                let mut puts = 0;
                while Instant::now() < end {
                    put_by_h2(sender.clone(), &uri).await;
                    puts += 1;
                }
                puts
            }
        };
        (0..IN_FLIGHT).map(put).collect()
    })
}

async fn put_by_h2(sender: h2::client::SendRequest<prost::bytes::Bytes>, uri: &http::Uri) {
    let mut sender = sender.ready().await.expect("it serves");
    let request = http::Request::post(uri.clone())
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("it is right");
    let (answer, mut body) = sender.send_request(request, false).expect("it serves");
    let Put { key, value, .. } = a_put();
    let key = prost::bytes::Bytes::copy_from_slice(key.as_bytes());
    let value = prost::bytes::Bytes::copy_from_slice(value.as_bytes());
    let put = PutRequest { key, value, ..PutRequest::default() };
    let mut message = prost::bytes::BytesMut::zeroed(5);
    put.encode(&mut message).expect("it grows");
    let length = u32::try_from(message.len() - 5).expect("it is small");
    message[1..5].copy_from_slice(&length.to_be_bytes());
    body.send_data(message.freeze(), true).expect("it serves");
    let mut body = answer.await.expect("it answers").into_body();
    let mut message = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.expect("it answers");
        body.flow_control().release_capacity(part.len()).expect("it was taken");
        message.extend_from_slice(&part);
    }
    PutResponse::decode(&message[5..]).expect("it answers");
    let trailers = body.trailers().await.expect("it answers").expect("it has a status");
    assert_eq!(trailers["grpc-status"], "0");
}

fn a_put() -> Put {
    Put { key: Text::from("key/012345"), value: Text::from(&[b'v'; 64]), ..Put::default() }
}
