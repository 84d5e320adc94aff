//! Runs scripts on servers and compares the answers with those recorded, or with another server's.
//!
//! Workers take scripts from one queue. Each worker has a server of its own (and one to compare
//! with), which its scripts share, one after the other, cleaned in between; a script that asks for
//! a server of its own gets one. A server on which a script failed is not used again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::library::Source;
use super::record;
use super::script::{Needs, Script};
use super::servers::{Origin, Server, ServerError};
use super::session::{self, Session};
use super::version::Version;
use crate::cluster::ClusterError;

/// What to run, and on what.
#[derive(Debug)]
pub struct Plan {
    /// The server under test.
    pub subject: Arc<Origin>,
    /// The server to compare with, in place of the recorded answers.
    pub against: Option<Arc<Origin>>,
    /// The version whose scripts count; the server is asked if it is not given.
    pub version: Option<Version>,
    /// Workers.
    pub jobs: usize,
    /// Whether answers are written into the scripts, not compared.
    pub record: bool,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What came of a script.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The script.
    pub name: String,
    /// What it says must hold.
    pub about: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every answer was the expected one.
    Passed,
    /// An answer was not.
    Failed(Mismatch),
    /// It was not run, and why.
    Skipped(String),
    /// It cannot be run as it is written: line and problem.
    Broken(usize, String),
    /// There was no server to run it on, and why.
    NoServer(String),
    /// Its answers were written into it.
    Recorded {
        /// Whether they are others than before.
        changed: bool,
    },
}

/// An answer that was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Line of the step.
    pub line: usize,
    /// The step.
    pub request: String,
    /// The answer as it should be.
    pub expected: String,
    /// The answer as it is.
    pub got: String,
}

/// Runs all scripts; results are in their order. An `Err` means that nothing could be run.
pub async fn run(plan: Plan, sources: Vec<Source>) -> Result<(Version, Vec<Ran>), ServerError> {
    let mut first = Arms::new(&plan);
    let version = first.version(&plan).await?;
    // The slow ones first, so that the last worker does not end alone.
    let mut queue: Vec<(usize, Source)> = sources.into_iter().enumerate().collect();
    queue.sort_by_key(|(_, source)| !source.script.needs.own_server());
    let queue = Arc::new(Mutex::new(VecDeque::from(queue)));
    let plan = Arc::new(plan);
    let mut workers = Vec::new();
    for _ in 0..plan.jobs.max(1) {
        let arms = std::mem::replace(&mut first, Arms::new(&plan));
        let (plan, queue, version) = (Arc::clone(&plan), Arc::clone(&queue), version.clone());
        workers.push(tokio::spawn(work(arms, plan, queue, version)));
    }
    let mut ran = Vec::new();
    for worker in workers {
        ran.extend(worker.await.expect("a worker does not panic"));
    }
    ran.sort_by_key(|(index, _)| *index);
    Ok((version, ran.into_iter().map(|(_, ran)| ran).collect()))
}

type Queue = Arc<Mutex<VecDeque<(usize, Source)>>>;

async fn work(
    mut arms: Arms,
    plan: Arc<Plan>,
    queue: Queue,
    version: Version,
) -> Vec<(usize, Ran)> {
    let mut done = Vec::new();
    loop {
        let next = queue.lock().expect("no holder panics").pop_front();
        let Some((index, source)) = next else { break };
        let start = Instant::now();
        let outcome = one(&mut arms, &plan, &source, &version).await;
        if !matches!(outcome, Outcome::Passed | Outcome::Skipped(_) | Outcome::Recorded { .. }) {
            // How it ended is part of the outcome already.
            drop(arms.end().await);
        }
        let Source { name, script, .. } = source;
        let seconds = start.elapsed().as_secs_f64();
        done.push((index, Ran { name, about: script.about, outcome, seconds }));
    }
    // What ended by itself was told with its script.
    drop(arms.end().await);
    done
}

async fn one(arms: &mut Arms, plan: &Plan, source: &Source, version: &Version) -> Outcome {
    let script = &source.script;
    if let Some(reason) = script.needs.excludes(version) {
        return Outcome::Skipped(reason);
    }
    let newest = Version::recorded();
    if plan.record && *version < newest && script.needs.excludes(&newest).is_none() {
        return Outcome::Skipped(format!("its answers are recorded from etcd {newest}"));
    }
    if script.needs.own_server() && !arms.can_start() {
        return Outcome::Skipped("it needs a server of its own, and none is started".to_owned());
    }
    let expected = match arms.against.as_mut() {
        None => script.steps.iter().map(|step| step.expected.clone()).collect(),
        Some(arm) => match arm.take_steps(script, None).await {
            Ok(answers) => answers.into_iter().map(|answer| Some(answer?.flat())).collect(),
            Err(outcome) => return outcome,
        },
    };
    if plan.record {
        return match arms.subject.take_steps(script, None).await {
            Ok(answers) => write(source, &answers),
            Err(outcome) => outcome,
        };
    }
    match arms.subject.take_steps(script, Some(&expected)).await {
        Ok(_) => Outcome::Passed,
        Err(outcome) => outcome,
    }
}

fn write(source: &Source, answers: &[Option<Answer>]) -> Outcome {
    let steps = source.script.steps.iter();
    if let Some((step, _)) = steps.zip(answers).find(|(_, got)| **got == Some(Answer::Nothing)) {
        return Outcome::Broken(step.line, "nothing came, which is no answer".to_owned());
    }
    let text = record::rewrite(&source.text, &source.script, answers);
    let changed = text != source.text;
    let Some(path) = source.path.as_ref().filter(|_| changed) else {
        return Outcome::Recorded { changed };
    };
    match std::fs::write(path, text) {
        Ok(()) => Outcome::Recorded { changed },
        Err(error) => Outcome::Broken(1, format!("cannot write {}: {error}", path.display())),
    }
}

/// The servers of one worker.
struct Arms {
    subject: Arm,
    against: Option<Arm>,
}

/// One kind of server, and the one of it that scripts share.
struct Arm {
    origin: Arc<Origin>,
    shared: Option<Server>,
    patience: Duration,
}

impl Arms {
    fn new(plan: &Plan) -> Arms {
        let arm = |origin: &Arc<Origin>| Arm {
            origin: Arc::clone(origin),
            shared: None,
            patience: plan.patience,
        };
        Arms { subject: arm(&plan.subject), against: plan.against.as_ref().map(arm) }
    }

    fn can_start(&self) -> bool {
        self.subject.origin.can_start()
            && self.against.as_ref().is_none_or(|arm| arm.origin.can_start())
    }

    /// The version that the subject is held to.
    async fn version(&mut self, plan: &Plan) -> Result<Version, ServerError> {
        let presented = self.subject.shared().await?.subject.version().parse();
        let presented = presented.unwrap_or_else(|_| Version::recorded());
        if let Some(against) = &mut self.against {
            against.shared().await?;
        }
        Ok(plan.version.clone().unwrap_or(presented))
    }

    async fn end(&mut self) -> Result<(), ClusterError> {
        let against = self.against.as_mut().and_then(|arm| arm.shared.take());
        for server in self.subject.shared.take().into_iter().chain(against) {
            server.end().await?;
        }
        Ok(())
    }
}

impl Arm {
    async fn shared(&mut self) -> Result<&Server, ServerError> {
        let server = match self.shared.take() {
            Some(server) => server,
            None => self.origin.server(&Needs::default()).await?,
        };
        Ok(self.shared.insert(server))
    }

    /// Takes a script's steps, and compares the answers with `expected` if that is given.
    async fn take_steps(
        &mut self,
        script: &Script,
        expected: Option<&Vec<Option<String>>>,
    ) -> Result<Vec<Option<Answer>>, Outcome> {
        let no_server = |error: ServerError| Outcome::NoServer(error.to_string());
        if script.needs.own_server() {
            let server = self.origin.server(&script.needs).await.map_err(no_server)?;
            let session = Session::on_new(&server.subject).with_patience(self.patience);
            let taken = take(session, script, expected).await;
            return match server.end().await {
                Ok(()) => taken,
                Err(ended) => Err(while_it_ran(&ended)),
            };
        }
        let patience = self.patience;
        let server = self.shared().await.map_err(no_server)?;
        let taken = match Session::wiped(&server.subject).await {
            Ok(session) => take(session.with_patience(patience), script, expected).await,
            Err(status) => Err(Outcome::NoServer(format!("cannot clean it: {status}"))),
        };
        server.ended().map_err(|ended| while_it_ran(&ended))?;
        taken
    }
}

fn while_it_ran(ended: &ClusterError) -> Outcome {
    Outcome::NoServer(format!("while this script ran: {ended}"))
}

async fn take(
    mut session: Session,
    script: &Script,
    expected: Option<&Vec<Option<String>>>,
) -> Result<Vec<Option<Answer>>, Outcome> {
    let mut answers = Vec::new();
    for (index, step) in script.steps.iter().enumerate() {
        let got = session.step(step).await;
        let got = got.map_err(|problem| Outcome::Broken(step.line, problem))?;
        if let Some(Answer::Error { text, .. }) = &got
            && session::is_broken_connection(text)
        {
            let (line, step) = (step.line, &step.text);
            return Err(Outcome::NoServer(format!("{text} at line {line}: {step}")));
        }
        if let (Some(all), Some(got)) = (expected, &got) {
            let got = got.flat();
            match &all[index] {
                Some(expected) if *expected == got => {}
                expected => {
                    let expected = expected.clone();
                    return Err(Outcome::Failed(Mismatch {
                        line: step.line,
                        request: step.text.clone(),
                        expected: expected.unwrap_or_else(|| "(no answer was recorded)".into()),
                        got,
                    }));
                }
            }
        }
        answers.push(got);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests;
