//! Two servers that get the same requests, and what each answers.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;

use super::super::answer::Answer;
use super::super::clean;
use super::super::script::{Needs, Step};
use super::super::servers::{Origin, Server, ServerError};
use super::super::session::{ANSWER_MAX, Session};
use super::super::subject::{ask, field};
use super::request::Request;
use super::steps::Steps;

/// How often servers are started anew, for a port that another process took, or because they do not
/// hash the same.
const STARTS_MAX: usize = 2;

/// The server under test, and the one that is believed.
#[derive(Debug)]
pub struct Pair {
    origins: [Arc<Origin>; 2],
    servers: Option<[Server; 2]>,
    /// Whether both have had the same writes since they were new, and so hash the same.
    is_level: bool,
    patience: Duration,
}

/// Why streams cannot be run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PairError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot clean the servers: {0}")]
    Clean(Status),
    #[error("a request cannot be sent: {0}")]
    Request(String),
}

/// A step, and what both answered, the server under test first.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The step, as a script has it.
    pub step: String,
    /// The answers, if it has any.
    pub answers: Option<[Answer; 2]>,
}

impl Exchange {
    /// Whether both answered, and the same.
    pub fn is_equal(&self) -> bool {
        let equal = |[a, b]: &[Answer; 2]| a == b && *a != Answer::Nothing;
        self.answers.as_ref().is_none_or(equal)
    }
}

impl Pair {
    /// Of servers that are started, or reached, when they are needed.
    pub fn new(subject: Arc<Origin>, against: Arc<Origin>) -> Pair {
        Pair { origins: [subject, against], servers: None, is_level: false, patience: ANSWER_MAX }
    }

    /// How long an answer may take in the streams that are opened from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Both have answered differently, so what they hold may differ.
    pub fn has_differed(&mut self) {
        self.is_level = false;
    }

    /// Whether hashes can be compared in the stream that was opened last.
    pub fn is_level(&self) -> bool {
        self.is_level
    }

    /// A clean start on both. Servers of ours that do not answer, or that hold what differs, are
    /// started anew.
    pub async fn open(&mut self) -> Result<Stream, PairError> {
        for _ in 0..STARTS_MAX {
            let opened = self.try_open().await;
            if !self.can_start() || (opened.is_ok() && self.is_level) {
                return opened;
            }
            self.end().await;
        }
        self.try_open().await
    }

    /// A start on servers that nobody has used; the servers of later streams are others.
    pub async fn open_new(&mut self) -> Result<Stream, PairError> {
        self.end().await;
        let [subject, against] = self.servers().await?;
        let sessions = [Session::on_new(&subject.subject), Session::on_new(&against.subject)];
        Ok(Stream::new(sessions, self.patience))
    }

    /// Whether servers are started by us.
    pub fn can_start(&self) -> bool {
        self.origins.iter().all(|origin| origin.can_start())
    }

    /// Ends the servers.
    pub async fn end(&mut self) {
        self.is_level = false;
        for server in self.servers.take().into_iter().flatten() {
            // Whoever ended by itself did not answer, which was a difference.
            drop(server.end().await);
        }
    }

    async fn try_open(&mut self) -> Result<Stream, PairError> {
        let is_level = self.is_level;
        let [subject, against] = self.servers().await?;
        let subjects = [subject.subject.clone(), against.subject.clone()];
        if !is_level {
            let channels = [0, 1].map(|side| subjects[side].channel(0).expect("a member"));
            let left = tokio::try_join!(emptied(channels[0]), emptied(channels[1]));
            let (subject, against) = left.map_err(PairError::Clean)?;
            self.is_level = subject == against && subject.1.is_some();
        }
        let sessions = tokio::try_join!(Session::wiped(&subjects[0]), Session::wiped(&subjects[1]));
        let (subject, against) = sessions.map_err(PairError::Clean)?;
        Ok(Stream::new([subject, against], self.patience))
    }

    async fn servers(&mut self) -> Result<&[Server; 2], ServerError> {
        let servers = if let Some(servers) = self.servers.take() {
            servers
        } else {
            let needs = Needs::default();
            let [subject, against] = &self.origins;
            let started = tokio::try_join!(subject.server(&needs), against.server(&needs));
            started?.into()
        };
        Ok(self.servers.insert(servers))
    }
}

/// Deletes everything, history too. Returns the revision and the hash that are left; a server may
/// have no hash.
async fn emptied(channel: &Channel) -> Result<(i64, Option<u32>), Status> {
    let revision = clean::clean(channel).await?;
    ask(channel, "Compact", &format!("revision: {revision} physical: true")).await?;
    let hash = ask(channel, "HashKV", "").await.ok();
    Ok((revision, hash.and_then(|answer| field(&answer, "hash")?.as_u32())))
}

/// A stream of requests on both.
#[derive(Debug)]
pub struct Stream {
    sessions: [Session; 2],
    steps: Steps,
    exchanges: Vec<Exchange>,
    /// Where those of the last request begin.
    asked_at: usize,
}

impl Stream {
    fn new(sessions: [Session; 2], patience: Duration) -> Stream {
        let sessions = sessions.map(|session| session.with_patience(patience));
        Stream { sessions, steps: Steps::default(), exchanges: Vec::new(), asked_at: 0 }
    }

    /// Sends a request to both; returns whether they answered the same. Once they did not, the
    /// stream ends.
    pub async fn ask(&mut self, request: &Request) -> Result<bool, PairError> {
        let steps = self.steps.of(request);
        self.asked_at = self.exchanges.len();
        self.take(steps).await
    }

    /// Reads what is still owed.
    pub async fn finish(&mut self) -> Result<bool, PairError> {
        let steps = self.steps.last();
        self.take(steps).await
    }

    /// All steps so far with their answers.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// What the believed server answered to the last request, before the end of a stream.
    pub fn answer(&self) -> Option<&Answer> {
        let exchanges = self.exchanges[self.asked_at..].iter().rev();
        let mut answers = exchanges.filter_map(|exchange| exchange.answers.as_ref());
        answers.find(|[_, against]| *against != Answer::End).map(|[_, against]| against)
    }

    /// Takes the step before the first request.
    pub async fn begin(&mut self) -> Result<bool, PairError> {
        self.take(vec![Steps::first()]).await
    }

    /// Sends all requests until there is a difference; returns whether there was none.
    pub async fn play(&mut self, requests: &[Request]) -> Result<bool, PairError> {
        for request in requests {
            if !self.ask(request).await? {
                return Ok(false);
            }
        }
        self.finish().await
    }

    async fn take(&mut self, steps: Vec<Step>) -> Result<bool, PairError> {
        for step in steps {
            let [subject, against] = &mut self.sessions;
            let (subject, against) = tokio::join!(subject.step(&step), against.step(&step));
            let answers =
                (subject.map_err(PairError::Request)?, against.map_err(PairError::Request)?);
            let answers = match answers {
                (Some(subject), Some(against)) => Some([subject, against]),
                _ => None,
            };
            let exchange = Exchange { step: step.text, answers };
            let is_equal = exchange.is_equal();
            self.exchanges.push(exchange);
            if !is_equal {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
