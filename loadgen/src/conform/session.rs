//! Steps on one server, from a clean start, and the answers in a form that can be compared.
//!
//! A session goes through its steps in order, one at a time. Dropped, it cancels the calls that
//! are still open.

use std::collections::BTreeMap;
use std::time::Duration;

use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage, Value};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::transport::Channel;

use super::answer::Answer;
use super::clean;
use super::dynamic::{self, Metadata, OpenCall};
use super::normalize::Shift;
use super::script::{Action, Step};
use super::settle::{self, Settled, Settling};
use super::subject::{Subject, number};
use super::values::Values;

/// How long an answer may take, and how long `eventually` tries, if nothing else is said.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pause between two tries of `eventually`.
const RETRY: Duration = Duration::from_millis(50);

/// A server on which a script runs.
#[derive(Debug)]
pub struct Session {
    subject: Subject,
    channel: Channel,
    shift: Shift,
    values: Values,
    metadata: Metadata,
    calls: BTreeMap<String, Running>,
    patience: Duration,
}

/// A call that is open.
#[derive(Debug)]
struct Running {
    call: OpenCall,
    settling: Settling,
}

impl Session {
    /// A session on a server that nobody has used: nothing needs to be cleaned.
    pub fn on_new(subject: &Subject) -> Session {
        let channel = subject.channel(0).expect("a server has a member").clone();
        Session {
            subject: subject.clone(),
            channel,
            shift: Shift(0),
            values: subject.values().clone(),
            metadata: Metadata::new(),
            calls: BTreeMap::new(),
            patience: ANSWER_MAX,
        }
    }

    /// The same session, in which an answer may take this long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Session {
        Session { patience, ..self }
    }

    /// A session on a server that may have been used: **deletes everything** on it.
    pub async fn wiped(subject: &Subject) -> Result<Session, Status> {
        let mut session = Session::on_new(subject);
        let cleaning = timeout(ANSWER_MAX, clean::clean(&session.channel));
        let late = |_| Status::deadline_exceeded("cleaning took too long");
        let revision = cleaning.await.map_err(late)??;
        session.shift = Shift(revision - 1);
        Ok(session)
    }

    /// Takes a step. The answer is `None` for steps that have none. An `Err` says why the step
    /// cannot be taken as it is written.
    pub async fn step(&mut self, step: &Step) -> Result<Option<Answer>, String> {
        let expected = step.expected.as_deref();
        match &step.action {
            Action::Call { method, request, until_expected: true } => {
                let expected = expected.ok_or("`eventually` needs its answer written out")?;
                self.eventually(method, request, expected, step).await.map(Some)
            }
            Action::Call { method, request, until_expected: false } => {
                self.call(method, request, &step.names).await.map(Some)
            }
            Action::Open { stream, method, request } => {
                let is_first = !request.is_empty() || !method.is_client_streaming();
                let request = if is_first { Some(self.request(method, request)?) } else { None };
                let mut settling = Settling::default();
                if let Some(request) = &request {
                    settling.note(request);
                }
                let call = OpenCall::open(&self.channel, method, &self.metadata, request);
                let call = call.map_err(|status| status.to_string())?;
                self.calls.insert(stream.clone(), Running { call, settling });
                Ok(None)
            }
            Action::Send { stream, method, request } => {
                let request = self.request(method, request)?;
                let running = self.open(stream)?;
                running.settling.note(&request);
                // If the call has ended, the next `<` says how.
                let _is_open = running.call.send(request).await;
                Ok(None)
            }
            Action::Receive { stream } => self.receive(stream, &step.names).await.map(Some),
            Action::Settle { stream } => self.settle(stream).await.map(Some),
            Action::HalfClose { stream } => {
                self.open(stream)?.call.half_close();
                Ok(None)
            }
            Action::Cancel { stream } => {
                self.calls.remove(stream);
                Ok(None)
            }
            Action::Metadata(pairs) => {
                self.metadata = self.substituted(pairs)?;
                Ok(None)
            }
            Action::Member(index) => {
                let channel = self.subject.channel(*index);
                self.channel = channel.ok_or(format!("there is no member {index}"))?.clone();
                Ok(None)
            }
        }
    }

    /// A request as the server gets it.
    fn request(&self, method: &MethodDescriptor, text: &str) -> Result<DynamicMessage, String> {
        let text = self.values.substitute(text)?;
        let parsed = DynamicMessage::parse_text_format(method.input(), &text);
        let mut message = parsed.map_err(|error| format!("{}: {error}", method.name()))?;
        self.shift.to_server(&mut message);
        Ok(message)
    }

    fn substituted(&self, pairs: &Metadata) -> Result<Metadata, String> {
        let each = pairs.iter().map(|(key, value)| Ok((key.clone(), self.values.raw(value)?)));
        each.collect()
    }

    async fn call(
        &mut self,
        method: &MethodDescriptor,
        request: &str,
        names: &[(String, String)],
    ) -> Result<Answer, String> {
        let request = self.request(method, request)?;
        let channel = self.channel.clone();
        let answered = if method.is_client_streaming() {
            let opened = OpenCall::open(&channel, method, &self.metadata, Some(request));
            let mut call = opened.map_err(|status| status.to_string())?;
            call.half_close();
            timeout(self.patience, async move { call.next().await }).await
        } else {
            let unary = dynamic::unary(&channel, method, &self.metadata, request);
            timeout(self.patience, async { Some(unary.await) }).await
        };
        self.answer(answered, names)
    }

    async fn eventually(
        &mut self,
        method: &MethodDescriptor,
        request: &str,
        expected: &str,
        step: &Step,
    ) -> Result<Answer, String> {
        let start = Instant::now();
        loop {
            let answer = self.call(method, request, &step.names).await?;
            if answer.flat() == expected || start.elapsed() > self.patience {
                return Ok(answer);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn receive(
        &mut self,
        stream: &str,
        names: &[(String, String)],
    ) -> Result<Answer, String> {
        let (start, patience) = (self.shift.0 + 1, self.patience);
        let call = &mut self.open(stream)?.call;
        let next = async {
            loop {
                let mut next = call.next().await;
                if let Some(Ok(message)) = &mut next
                    && (settle::is_own(message) || is_before(message, start))
                {
                    continue;
                }
                return next;
            }
        };
        let received = timeout(patience, next).await;
        self.answer(received, names)
    }

    /// Names what is to be named, then shows the answer.
    fn answer(
        &mut self,
        answered: Result<Option<Result<DynamicMessage, Status>>, Elapsed>,
        names: &[(String, String)],
    ) -> Result<Answer, String> {
        Ok(match answered {
            Err(_elapsed) => Answer::Nothing,
            Ok(None) => Answer::End,
            Ok(Some(Err(status))) => refused(&status),
            Ok(Some(Ok(message))) => {
                for (name, path) in names {
                    let value = self.shift.pick(&message, path)?;
                    self.values.set(name, value);
                }
                Answer::Message(self.shift.show(&message, &self.values))
            }
        })
    }

    async fn settle(&mut self, stream: &str) -> Result<Answer, String> {
        let (start, patience) = (self.shift.0 + 1, self.patience);
        let channel = self.channel.clone();
        let Running { call, settling } = self.open(stream)?;
        let settled = timeout(patience, settling.settle(call, &channel)).await;
        Ok(match settled {
            Err(_elapsed) => Answer::Nothing,
            Ok(Settled::Ended(None)) => Answer::End,
            Ok(Settled::Ended(Some(status))) => refused(&status),
            Ok(Settled::Messages(mut messages)) => {
                messages.retain_mut(|message| !is_before(message, start));
                let shown = messages.iter().map(|message| self.shift.show(message, &self.values));
                settle::by_watch(shown)
            }
        })
    }

    fn open(&mut self, stream: &str) -> Result<&mut Running, String> {
        self.calls.get_mut(stream).ok_or_else(|| format!("call {stream} was cancelled"))
    }
}

/// Whether an error's text is this side's own: no server says so.
pub fn is_broken_connection(text: &str) -> bool {
    text == "transport error" || text.starts_with(dynamic::NO_CONNECTION)
}

fn refused(status: &Status) -> Answer {
    Answer::Error { code: status.code(), text: status.message().to_owned() }
}

/// Takes the events up to the clean start out of a watch's message; whether there were no others.
fn is_before(message: &mut DynamicMessage, start: i64) -> bool {
    if message.descriptor().name() != "WatchResponse" || start <= 1 {
        return false;
    }
    let Some(Value::List(events)) = message.get_field_by_name_mut("events") else { return false };
    let count = events.len();
    events.retain(|event| {
        let kv = event.as_message().and_then(|event| super::subject::message(event, "kv"));
        kv.and_then(|kv| number(&kv, "mod_revision")).is_none_or(|at| at > i128::from(start))
    });
    count > 0 && events.is_empty()
}
