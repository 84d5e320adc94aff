//! Who changes the membership: asks members for it, as `etcdctl` does.
//!
//! One change at a time. It is careful where a person would be: a machine is given up only while the
//! others are a quorum for certain, and then nothing else is done before it is replaced.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusd_proto::etcdserverpb as pb;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::doors::Doors;

/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(250);
/// How long an answer is waited for: longer than members wait.
const PATIENCE: Duration = Duration::from_secs(8);
/// What a strict check says of a cluster in which too few are reached. Nothing was done.
const UNHEALTHY: &str = "etcdserver: unhealthy cluster";

/// See above. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operator {
    doors: Doors,
    stop: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_busy: bool,
    /// Of a change it is not known whether it was made.
    is_uncertain: bool,
    /// Ids of the voters, and of the learners, after the last change that was made.
    members: (Vec<u64>, Vec<u64>),
    /// Members that were, perhaps, added.
    added: usize,
    done: u64,
    news: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Add { is_learner: bool },
    Promote(u64),
    Remove(u64),
}

/// What became of a request.
#[derive(Debug)]
enum Answer {
    Done(Vec<pb::Member>),
    /// It was not done.
    Refused(Status),
    /// Perhaps it was.
    Unknown,
}

impl Operator {
    /// Of a cluster of these voters, behind these doors.
    pub fn new(doors: Doors, voters: Vec<u64>) -> Operator {
        let state = State { members: (voters, Vec::new()), ..State::default() };
        Operator { doors, stop: CancellationToken::new(), state: Arc::new(Mutex::new(state)) }
    }

    /// The voters, if nothing is under way that may have changed them.
    pub fn certain_voters(&self) -> Option<Vec<u64>> {
        let state = self.state.lock();
        (!state.is_busy && !state.is_uncertain).then(|| state.members.0.clone())
    }

    /// Members that were, perhaps, added.
    pub fn added(&self) -> usize {
        self.state.lock().added
    }

    /// Changes that were made.
    pub fn done(&self) -> u64 {
        self.state.lock().done
    }

    /// What happened since the last call.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().news)
    }

    /// Asks for nothing any more.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks a member for another one.
    pub fn add(&self, at: usize, is_learner: bool) {
        self.begin(move |this| async move {
            this.ask(at, Request::Add { is_learner }).await;
        });
    }

    /// Asks a member for a vote for the learner, if there is one.
    pub fn promote(&self, at: usize) {
        let Some(learner) = self.state.lock().members.1.first().copied() else { return };
        self.begin(move |this| async move {
            this.ask(at, Request::Promote(learner)).await;
        });
    }

    /// Asks a member for one to be removed.
    pub fn remove(&self, at: usize, id: u64) {
        self.begin(move |this| async move {
            this.ask(at, Request::Remove(id)).await;
        });
    }

    /// Has one removed that is lost, and another one added.
    pub fn replace(&self, id: u64, is_learner: bool) {
        self.begin(move |this| async move {
            let mut at = 0;
            loop {
                match this.ask(at, Request::Remove(id)).await {
                    Answer::Done(_) => break,
                    Answer::Refused(status) if status.code() == Code::NotFound => break,
                    Answer::Refused(_) | Answer::Unknown => {}
                }
                tokio::time::sleep(RETRY).await;
                at = (at + 1) % this.doors.count();
            }
            this.state.lock().is_uncertain = false;
            while let Answer::Refused(_) = this.ask(at, Request::Add { is_learner }).await {
                tokio::time::sleep(RETRY).await;
                at = (at + 1) % this.doors.count();
            }
        });
    }

    fn begin<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce(Operator) -> F + Send + 'static,
    ) {
        if std::mem::replace(&mut self.state.lock().is_busy, true) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let work = work(this.clone());
            this.stop.run_until_cancelled(work).await;
            this.state.lock().is_busy = false;
        });
    }

    async fn ask(&self, at: usize, request: Request) -> Answer {
        let answer = self.send(at, request).await;
        let mut state = self.state.lock();
        let is_refused = matches!(answer, Answer::Refused(_));
        state.added += usize::from(matches!(request, Request::Add { .. }) && !is_refused);
        match &answer {
            Answer::Done(members) => {
                let (learners, voters): (Vec<&pb::Member>, Vec<&pb::Member>) =
                    members.iter().partition(|member| member.is_learner);
                let ids = |members: Vec<&pb::Member>| members.iter().map(|it| it.id).collect();
                state.members = (ids(voters), ids(learners));
                state.done += 1;
                state.news.push(format!("m{at}: {request:x?} is done"));
            }
            Answer::Refused(status) => {
                state.news.push(format!("m{at}: {request:x?} is refused: {}", status.message()));
            }
            Answer::Unknown => {
                state.is_uncertain = true;
                state.news.push(format!("m{at}: {request:x?} has no answer"));
            }
        }
        answer
    }

    async fn send(&self, at: usize, request: Request) -> Answer {
        let Some(door) = self.doors.get(at) else {
            return Answer::Refused(Status::unavailable("it is not there"));
        };
        let url = format!("http://n{}:2380", self.added());
        let mut cluster = door.cluster;
        let asking = async {
            self.doors.going_on(at).await;
            let answer = match request {
                Request::Add { is_learner } => cluster
                    .member_add(pb::MemberAddRequest { peer_ur_ls: vec![url], is_learner })
                    .await
                    .map(|answer| answer.into_inner().members),
                Request::Promote(id) => cluster
                    .member_promote(pb::MemberPromoteRequest { id })
                    .await
                    .map(|answer| answer.into_inner().members),
                Request::Remove(id) => cluster
                    .member_remove(pb::MemberRemoveRequest { id })
                    .await
                    .map(|answer| answer.into_inner().members),
            };
            self.doors.going_on(at).await;
            answer
        };
        let asking = door.gone.run_until_cancelled(asking);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Some(Ok(members))) => Answer::Done(members),
            Ok(Some(Err(status))) if is_refusal(&status) => Answer::Refused(status),
            _ => Answer::Unknown,
        }
    }
}

/// For certain, nothing was done.
fn is_refusal(status: &Status) -> bool {
    let codes =
        [Code::InvalidArgument, Code::NotFound, Code::AlreadyExists, Code::FailedPrecondition];
    codes.contains(&status.code()) || status.message() == UNHEALTHY
}
