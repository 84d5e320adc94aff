//! `NAME settle`: all that a watch stream owes up to now, in whichever messages it comes.
//!
//! How many events a message has, and which watch gets its message first, is left to the server,
//! and depends on its timing. What each watch gets, and in which order, is not: that is what is
//! shown here.
//!
//! etcd promises that progress, asked for a stream, comes after all events up to the revision in
//! it. It does not answer while a watch still catches up, nor while one starts in the future, nor
//! if there is no watch at all. So we keep a watch of our own, put a key of our own until every
//! watch has started, and ask again until the answer has the revision of that put: an answer to an
//! earlier question cannot have it.
//!
//! A watch that starts before what was compacted is cancelled by etcd, and still counts as one that
//! catches up until the client cancels it, which we do.
//!
//! What is said about a watch (created, canceled) comes in order too, but may be overtaken by
//! events and progress of others. So our own watch is made anew each time: it is said to be created
//! after all that was said before.

use std::time::Duration;

use prost_reflect::{DynamicMessage, ReflectMessage};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use super::answer::{Answer, Field, Shown};
use super::dynamic::OpenCall;
use super::schema;
use super::subject::{ask, field, message, number};

/// The key that is put.
const PUT: &str = "key: \"\\xff/conform/settle\"";
/// Our own watch, of a key that is never put. The id is one that nobody else chooses.
const CREATE: &str = "create_request { key: \"\\xff/conform/idle\" watch_id: 9151314442816847872 }";
const CANCEL: &str = "cancel_request { watch_id: 9151314442816847872 }";
const OWN_WATCH_ID: i128 = 9_151_314_442_816_847_872;
/// What progress that was asked for is addressed to.
const PROGRESS_WATCH_ID: i128 = -1;
/// How long an answer is waited for until it is asked for again.
const RETRY: Duration = Duration::from_millis(20);
/// A watch that starts later than in so many revisions cannot be waited for.
const PUTS_MAX: i64 = 1000;

/// What must be known of a watch stream to settle it.
#[derive(Debug, Default)]
pub struct Settling {
    has_own_watch: bool,
    /// The server's revision at which the latest watch starts.
    start_max: i128,
    /// Watches that we have cancelled, and that are not yet said to be.
    leaving: Vec<i128>,
}

/// How it went.
#[derive(Debug)]
pub enum Settled {
    /// All messages since the last time.
    Messages(Vec<DynamicMessage>),
    /// The stream has ended, or something was refused.
    Ended(Option<Status>),
}

impl Settling {
    /// Takes note of a request that is sent.
    pub fn note(&mut self, request: &DynamicMessage) {
        let created = message(request, "create_request");
        let start = created.and_then(|created| number(&created, "start_revision"));
        self.start_max = self.start_max.max(start.unwrap_or(0));
    }

    /// Waits until the stream has sent all it owes.
    pub async fn settle(&mut self, call: &mut OpenCall, channel: &Channel) -> Settled {
        let mut messages = Vec::new();
        match self.settle_into(&mut messages, call, channel).await {
            Ok(()) => Settled::Messages(messages),
            Err(ended) => Settled::Ended(ended),
        }
    }

    async fn settle_into(
        &mut self,
        messages: &mut Vec<DynamicMessage>,
        call: &mut OpenCall,
        channel: &Channel,
    ) -> Result<(), Option<Status>> {
        // If the call has ended, the next message says how.
        if std::mem::replace(&mut self.has_own_watch, true) {
            let _is_open = call.send(watch_request(CANCEL)).await;
        }
        let _is_open = call.send(watch_request(CREATE)).await;
        loop {
            let message = next(call).await?;
            if is_own(&message) && is_set(&message, "created") {
                break;
            }
            messages.extend(self.part(message, call).await);
        }
        // Not earlier: a watch that is still being created would have this put or not.
        let revision = self.put(channel).await?;
        loop {
            let _is_open = call.send(watch_request("progress_request { }")).await;
            while let Ok(next) = timeout(RETRY, next(call)).await {
                let message = next?;
                let promised = header_revision(&message).unwrap_or(0);
                let is_promised = is_progress(&message) && promised >= revision;
                messages.extend(self.part(message, call).await);
                if is_promised && self.leaving.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// The message, unless it is an answer to what we asked; a watch that ends by compaction is
    /// left.
    async fn part(&mut self, message: DynamicMessage, call: &OpenCall) -> Option<DynamicMessage> {
        let watch_id = number(&message, "watch_id").unwrap_or(0);
        let is_compacted = number(&message, "compact_revision").unwrap_or(0) > 0;
        if is_set(&message, "canceled") && !is_compacted {
            let left = self.leaving.iter().position(|id| *id == watch_id);
            if let Some(index) = left {
                self.leaving.remove(index);
                return None;
            }
        } else if is_compacted {
            self.leaving.push(watch_id);
            let request = watch_request(&format!("cancel_request {{ watch_id: {watch_id} }}"));
            let _is_open = call.send(request).await;
        }
        (!is_own(&message) && !is_progress(&message)).then_some(message)
    }

    /// Puts our key until every watch has started; returns the last put's revision.
    async fn put(&self, channel: &Channel) -> Result<i128, Status> {
        for _ in 0..PUTS_MAX {
            let answer = ask(channel, "Put", PUT).await?;
            let revision = header_revision(&answer).unwrap_or(0);
            if revision >= self.start_max {
                return Ok(revision);
            }
        }
        Err(Status::internal("a watch starts too far in the future to settle"))
    }
}

/// The next message; an `Err` says how the stream ended.
async fn next(call: &mut OpenCall) -> Result<DynamicMessage, Option<Status>> {
    match call.next().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(status)) => Err(Some(status)),
        None => Err(None),
    }
}

/// Whether a message is about our own watch.
pub fn is_own(message: &DynamicMessage) -> bool {
    message.descriptor().name() == "WatchResponse"
        && number(message, "watch_id") == Some(OWN_WATCH_ID)
}

fn is_progress(message: &DynamicMessage) -> bool {
    let is_for_all = number(message, "watch_id") == Some(PROGRESS_WATCH_ID);
    is_for_all && !is_set(message, "created") && !is_set(message, "canceled")
}

fn is_set(message: &DynamicMessage, name: &str) -> bool {
    field(message, name).and_then(|value| value.as_bool()) == Some(true)
}

fn header_revision(answer: &DynamicMessage) -> Option<i128> {
    number(&message(answer, "header")?, "revision")
}

fn watch_request(text: &str) -> DynamicMessage {
    let watch = schema::method("Watch").expect("the RPC exists");
    DynamicMessage::parse_text_format(watch.input(), text).expect("the request is written here")
}

/// One answer of many messages: sorted by watch, and events that follow each other put together.
pub fn by_watch(messages: impl Iterator<Item = Vec<Field>>) -> Answer {
    let mut messages: Vec<Vec<Field>> = messages.map(without_framing).collect();
    messages.sort_by_key(|fields| watch_id(fields));
    let mut watches: Vec<Vec<Field>> = Vec::new();
    for fields in messages {
        match watches.last_mut() {
            Some(last) if has_events(last) && has_events(&fields) && same_watch(last, &fields) => {
                last.extend(fields.into_iter().filter(|field| field.name == "events"));
            }
            _ => watches.push(fields),
        }
    }
    let watches = watches.into_iter().map(Shown::Message);
    Answer::Message(watches.map(|value| Field { name: "watch".to_owned(), value }).collect())
}

/// Without what tells how the events were cut into messages.
fn without_framing(fields: Vec<Field>) -> Vec<Field> {
    fields.into_iter().filter(|field| !["header", "fragment"].contains(&&*field.name)).collect()
}

fn watch_id(fields: &[Field]) -> i64 {
    let id = fields.iter().find(|field| field.name == "watch_id");
    let id = id.and_then(|field| match &field.value {
        Shown::Scalar(id) => id.parse().ok(),
        _ => None,
    });
    // The field is absent when it is zero.
    id.unwrap_or(0)
}

fn has_events(fields: &[Field]) -> bool {
    fields.iter().any(|field| field.name == "events")
}

fn same_watch(a: &[Field], b: &[Field]) -> bool {
    watch_id(a) == watch_id(b)
}

#[cfg(test)]
mod tests {
    use super::super::normalize::Shift;
    use super::super::values::Values;
    use super::*;

    fn shown(texts: &[&str]) -> String {
        let watch = schema::method("Watch").unwrap();
        let show = |text: &&str| {
            let message = DynamicMessage::parse_text_format(watch.output(), text).unwrap();
            Shift(0).show(&message, &Values::default())
        };
        by_watch(texts.iter().map(show)).flat()
    }

    #[test]
    fn how_events_were_cut_into_messages_is_not_seen() {
        let whole = "header { revision: 7 } watch_id: 1 events { kv { key: 'a' } } events { }";
        let first = "header { revision: 5 } watch_id: 1 events { kv { key: 'a' } } fragment: true";
        let second = "header { revision: 6 } watch_id: 1 events { }";
        let other = "header { revision: 6 } events { kv { key: 'b' } }";
        let expected = "watch { events { kv { key: \"b\" } } } \
                        watch { watch_id: 1 events { kv { key: \"a\" } } events { } }";
        assert_eq!(shown(&[whole, other]), expected);
        assert_eq!(shown(&[first, other, second]), expected);
        assert_ne!(shown(&[second, other, first]), expected);
    }

    #[test]
    fn a_watch_that_ends_and_comes_again_is_seen_to() {
        let events = "watch_id: 1 events { }";
        let ended = "watch_id: 1 canceled: true";
        let expected = "watch { watch_id: 1 events { } } watch { watch_id: 1 canceled: true } \
                        watch { watch_id: 1 events { } }";
        assert_eq!(shown(&[events, ended, events]), expected);
    }
}
