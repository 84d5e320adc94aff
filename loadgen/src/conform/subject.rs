//! A server under test, as far as a script can tell: its members' addresses and who they are.

use prost_reflect::{DynamicMessage, Value};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::dynamic;
use super::schema;
use super::values::{Named, Values};
use crate::client::{describe, tls};

/// Connections to the members of one server.
#[derive(Debug, Clone)]
pub struct Subject {
    channels: Vec<Channel>,
    /// `$MEMBER`, `$NAME`, `$PEER_URL`, `$CLIENT_URL` of the first member, and with `0`, `1`, ...
    /// after them, of each.
    values: Values,
    version: String,
}

/// A server that does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {problem}")]
pub struct Unreachable {
    endpoint: String,
    problem: String,
}

impl Subject {
    /// Connects to each member, and asks who they are.
    pub async fn connect(endpoints: &[String]) -> Result<Subject, Unreachable> {
        let mut subject =
            Subject { channels: Vec::new(), values: Values::default(), version: String::new() };
        for (index, endpoint) in endpoints.iter().enumerate() {
            let unreachable = |problem: String| Unreachable { endpoint: endpoint.clone(), problem };
            let channel = connect(endpoint).await.map_err(|error| unreachable(describe(&error)))?;
            let named = subject.learn(index, &channel).await;
            named.map_err(|status| unreachable(status.message().to_owned()))?;
            subject.channels.push(channel);
        }
        Ok(subject)
    }

    /// The connection to a member.
    pub fn channel(&self, member: usize) -> Option<&Channel> {
        self.channels.get(member)
    }

    /// What is known of its members by name.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The version that the first member presents.
    pub fn version(&self) -> &str {
        &self.version
    }

    async fn learn(&mut self, index: usize, channel: &Channel) -> Result<(), Status> {
        let status = ask(channel, "Maintenance/Status", "").await?;
        let members = ask(channel, "MemberList", "").await?;
        let own = message(&status, "header").and_then(|header| number(&header, "member_id"));
        let Some(Value::List(members)) = field(&members, "members") else { return Ok(()) };
        for member in members.iter().filter_map(Value::as_message) {
            if number(member, "ID") != own {
                continue;
            }
            for (name, path) in [("MEMBER", "ID"), ("NAME", "name")] {
                self.name(index, name, field(member, path));
            }
            for (name, path) in [("PEER_URL", "peerURLs"), ("CLIENT_URL", "clientURLs")] {
                let urls = field(member, path);
                let first = urls.as_ref().and_then(Value::as_list).and_then(<[Value]>::first);
                self.name(index, name, first.cloned());
            }
        }
        if index == 0 {
            let version = field(&status, "version");
            self.version = version.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        }
        Ok(())
    }

    fn name(&mut self, index: usize, name: &str, value: Option<Value>) {
        let named = match value {
            Some(Value::U64(number)) => Named::Number(number.into()),
            Some(Value::String(text)) => Named::Bytes(text.into_bytes()),
            _ => return,
        };
        if index == 0 {
            self.values.set(name, named.clone());
        }
        self.values.set(&format!("{name}{index}"), named);
    }
}

async fn connect(endpoint: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(tls::url(endpoint))?.connect_timeout(CONNECT_MAX);
    tls::connect(&endpoint.tcp_nodelay(true)).await
}

/// How long a connection may take to come about.
const CONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Sends a request that is our own, not a script's.
pub(super) async fn ask(
    channel: &Channel,
    rpc: &str,
    text: &str,
) -> Result<DynamicMessage, Status> {
    let method = schema::method(rpc).expect("the RPC exists");
    let request = DynamicMessage::parse_text_format(method.input(), text)
        .expect("the request is written here");
    dynamic::unary(channel, &method, &Vec::new(), request).await
}

/// A field of a message that we asked for.
pub(super) fn field(message: &DynamicMessage, name: &str) -> Option<Value> {
    message.get_field_by_name(name).map(std::borrow::Cow::into_owned)
}

/// A message in a message that we asked for.
pub(super) fn message(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    field(message, name)?.as_message().cloned()
}

/// A number in a message that we asked for.
pub(super) fn number(message: &DynamicMessage, name: &str) -> Option<i128> {
    match field(message, name)? {
        Value::U64(number) => Some(number.into()),
        Value::I64(number) => Some(number.into()),
        _ => None,
    }
}
