//! A clean start for a script on a server that others have used.
//!
//! Disarms alarms, revokes leases, deletes all keys, and ends in one last revision. That is 1 for
//! the script, as it is on a new server. It has events, which a new server's does not, so watches
//! do not show events up to it. What cannot be taken back: compactions, and the members of the
//! cluster; scripts about those ask for a server of their own.

use prost_reflect::Value;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::subject::{ask, field, message, number};

/// A key that no script uses. It is put so that there is something to delete in the last revision,
/// and nothing else: a deletion can still be seen when its revision is compacted.
const MARK: &str = "key: \"\\xff/conform/clean\"";

/// Cleans, and returns the revision that is left behind.
pub async fn clean(channel: &Channel) -> Result<i64, Status> {
    disarm(channel).await?;
    revoke(channel).await?;
    ask(channel, "DeleteRange", "key: \"\\0\" range_end: \"\\0\"").await?;
    ask(channel, "Put", MARK).await?;
    let deleted = ask(channel, "DeleteRange", MARK).await?;
    let header = message(&deleted, "header");
    let revision = header.and_then(|header| number(&header, "revision"));
    let revision = revision.and_then(|revision| i64::try_from(revision).ok());
    revision.ok_or_else(|| Status::internal("a deletion was answered without a revision"))
}

async fn disarm(channel: &Channel) -> Result<(), Status> {
    let alarms = match ask(channel, "Alarm", "").await {
        Err(status) if status.code() == Code::Unimplemented => return Ok(()),
        answer => field(&answer?, "alarms"),
    };
    for alarm in messages(alarms) {
        let kind = field(&alarm, "alarm").and_then(|kind| kind.as_enum_number()).unwrap_or(0);
        let member = number(&alarm, "memberID").unwrap_or(0);
        let text = format!("action: DEACTIVATE memberID: {member} alarm: {kind}");
        ask(channel, "Alarm", &text).await?;
    }
    Ok(())
}

async fn revoke(channel: &Channel) -> Result<(), Status> {
    let leases = match ask(channel, "LeaseLeases", "").await {
        Err(status) if status.code() == Code::Unimplemented => return Ok(()),
        answer => field(&answer?, "leases"),
    };
    for lease in messages(leases) {
        let id = number(&lease, "ID").unwrap_or(0);
        match ask(channel, "LeaseRevoke", &format!("ID: {id}")).await {
            // It may have expired since.
            Err(status) if status.code() == Code::NotFound => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

fn messages(list: Option<Value>) -> Vec<prost_reflect::DynamicMessage> {
    let list = list.as_ref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(|value| value.as_message().cloned()).collect()
}
