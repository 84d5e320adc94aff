//! Runs streams on pairs of servers, and shrinks those on which they differ.
//!
//! Workers take the numbers of streams from one queue; each has a pair of servers of its own.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::servers::Origin;
use super::super::session::ANSWER_MAX;
use super::pair::{Exchange, Pair, PairError};
use super::request::Request;
use super::requests::Requests;
use super::shrink::{self, Judge};
use super::steps::Steps;
use super::summary::{Found, Tally};

/// How often it is told how far we are.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How long an answer may take while a stream is shrunk, which may be one that never comes.
const PATIENCE_SHRINKING: Duration = Duration::from_secs(1);

/// What to run, and on what.
#[derive(Debug)]
pub struct Plan {
    /// The server under test.
    pub subject: Arc<Origin>,
    /// The server that is believed.
    pub against: Arc<Origin>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Numbers of the streams.
    pub streams: Range<u64>,
    /// Requests of each.
    pub requests: u64,
    /// After how many requests hashes are compared, beside the end.
    pub hash_every: Option<u64>,
    /// How many differences are enough.
    pub differences_max: usize,
    /// Workers.
    pub jobs: usize,
}

/// What workers share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Range<u64>>,
    tally: Mutex<Tally>,
    found: Mutex<Vec<Found>>,
}

/// Runs all streams, or until there are enough differences.
pub async fn run(plan: Plan, progress: impl Fn(&str)) -> Result<(Tally, Vec<Found>), PairError> {
    let start = Instant::now();
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared {
        queue: Mutex::new(plan.streams.clone()),
        tally: Mutex::default(),
        found: Mutex::default(),
    });
    let mut workers = JoinSet::new();
    for _ in 0..plan.jobs.max(1) {
        workers.spawn(work(Arc::clone(&plan), Arc::clone(&shared)));
    }
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.tick().await;
    loop {
        tokio::select! {
            joined = workers.join_next() => match joined {
                Some(worked) => worked.expect("a worker does not panic")?,
                None => break,
            },
            _ = ticks.tick() => {
                let differences = shared.found.lock().expect("no holder panics").len();
                let done = shared.tally.lock().expect("no holder panics").streams;
                let all = plan.streams.end - plan.streams.start;
                let seconds = start.elapsed().as_secs();
                progress(&format!("{done} of {all} streams, {differences} differences, {seconds} s"));
            }
        }
    }
    let tally = std::mem::take(&mut *shared.tally.lock().expect("no holder panics"));
    let mut found = std::mem::take(&mut *shared.found.lock().expect("no holder panics"));
    found.sort_by_key(|found| found.stream);
    Ok((tally, found))
}

async fn work(plan: Arc<Plan>, shared: Arc<Shared>) -> Result<(), PairError> {
    let mut pair = Pair::new(Arc::clone(&plan.subject), Arc::clone(&plan.against));
    let mut worked = Ok(());
    while let Some(number) = shared.next(plan.differences_max) {
        match one(&mut pair, &plan, number, &shared.tally).await {
            Ok(None) => {}
            Ok(Some(found)) => shared.found.lock().expect("no holder panics").push(found),
            Err(error) => {
                worked = Err(error);
                break;
            }
        }
    }
    pair.end().await;
    worked
}

impl Shared {
    fn next(&self, differences_max: usize) -> Option<u64> {
        if self.found.lock().expect("no holder panics").len() >= differences_max {
            return None;
        }
        self.queue.lock().expect("no holder panics").next()
    }
}

/// Runs a stream; returns what differs on it.
async fn one(
    pair: &mut Pair,
    plan: &Plan,
    number: u64,
    all: &Mutex<Tally>,
) -> Result<Option<Found>, PairError> {
    let mut stream = pair.open().await?;
    let mut is_equal = stream.begin().await?;
    let mut random = Requests::new(plan.seed, number);
    let mut tally = Tally::default();
    let mut asked = Vec::new();
    for index in 1..=plan.requests {
        let is_hash_due =
            index == plan.requests || plan.hash_every.is_some_and(|every| index % every == 0);
        let hash = is_hash_due.then(Request::hash_kv);
        for request in std::iter::once(random.next_request()).chain(hash) {
            if request.rpc() == "HashKV" && !pair.is_level() {
                continue;
            }
            asked.push(request.clone());
            is_equal = stream.ask(&request).await?;
            tally.add(request.kind(), stream.answer());
            stream.answer().into_iter().for_each(|answer| random.observe(answer));
            if !is_equal {
                break;
            }
        }
        if !is_equal {
            break;
        }
    }
    is_equal = is_equal && stream.finish().await?;
    tally.streams = u64::from(is_equal);
    all.lock().expect("no holder panics").merge(tally);
    if is_equal {
        return Ok(None);
    }
    let exchanges = stream.exchanges().to_vec();
    drop(stream);
    explain(pair, plan.seed, number, asked, &exchanges).await.map(Some)
}

/// Shrinks a stream on which the servers differ, and writes the script that shows it.
async fn explain(
    pair: &mut Pair,
    seed: u64,
    stream: u64,
    asked: Vec<Request>,
    exchanges: &[Exchange],
) -> Result<Found, PairError> {
    pair.has_differed();
    let is_of_hash = exchanges.last().is_some_and(|last| last.step.starts_with("HashKV"));
    let asked: Vec<Request> =
        asked.into_iter().filter(|request| is_of_hash || request.rpc() != "HashKV").collect();
    let whence = format!("stream {stream} of seed {seed}");
    if !pair.differ(&asked).await? {
        let script = script(&format!("{whence}, seen only once"), false, exchanges);
        return Ok(Found { stream, requests: asked.len(), is_steady: false, script });
    }
    pair.set_patience(PATIENCE_SHRINKING);
    let shrunk = shrink::shrink(asked, pair).await?;
    pair.set_patience(ANSWER_MAX);
    let exchanges = shown(pair, &shrunk).await?;
    pair.has_differed();
    // A hash is of all that there ever was, so its script needs a new server.
    let script = script(&whence, is_of_hash, &exchanges);
    let is_begun = exchanges.first().is_some_and(|first| first.step == Steps::first().text);
    let requests = shrunk.len() + usize::from(is_begun);
    Ok(Found { stream, requests, is_steady: true, script })
}

/// What servers that nobody has used answer, without the step before the first request if the
/// difference shows all the same.
async fn shown(pair: &mut Pair, requests: &[Request]) -> Result<Vec<Exchange>, PairError> {
    if pair.can_start() {
        let mut stream = pair.open_new().await?;
        if !stream.play(requests).await? {
            return Ok(stream.exchanges().to_vec());
        }
    }
    let mut stream = if pair.can_start() { pair.open_new().await? } else { pair.open().await? };
    let _is_equal = stream.begin().await? && stream.play(requests).await?;
    Ok(stream.exchanges().to_vec())
}

impl Judge for Pair {
    type Error = PairError;

    async fn differ(&mut self, requests: &[Request]) -> Result<bool, PairError> {
        let mut stream = self.open().await?;
        let is_equal = stream.begin().await? && stream.play(requests).await?;
        if !is_equal {
            self.has_differed();
        }
        Ok(!is_equal)
    }
}

/// A script of what was asked, with the answers of the server that is believed.
fn script(whence: &str, is_fresh: bool, exchanges: &[Exchange]) -> String {
    let mut lines = vec![format!("# {whence}.")];
    match exchanges.last().filter(|last| !last.is_equal()).and_then(|last| last.answers.as_ref()) {
        Some([got, _]) => lines.push(format!("# The last answer was: {}", got.flat())),
        None => lines.push("# All answers were as they are here.".to_owned()),
    }
    if is_fresh {
        lines.push("fresh".to_owned());
    }
    lines.push(String::new());
    for exchange in exchanges {
        lines.push(exchange.step.clone());
        lines.extend(exchange.answers.iter().flat_map(|[_, expected]| expected.lines()));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::Answer;
    use super::super::super::script::Script;
    use super::*;

    /// What is found can be filed as it is.
    #[test]
    fn what_is_found_is_a_script() {
        let exchanges = [
            Exchange {
                step: "Put key: \"a\"".to_owned(),
                answers: Some([Answer::End, Answer::End]),
            },
            Exchange { step: "w = Watch".to_owned(), answers: None },
            Exchange {
                step: "w settle".to_owned(),
                answers: Some([Answer::End, Answer::Message(Vec::new())]),
            },
        ];
        let text = script("stream 3 of seed 1", true, &exchanges);
        let script = Script::parse("found/3", &text).unwrap();
        assert_eq!(script.about, "stream 3 of seed 1. The last answer was: (end)");
        assert!(script.needs.fresh);
        assert_eq!(script.steps[2].expected.as_deref(), Some("(empty)"));
    }
}
