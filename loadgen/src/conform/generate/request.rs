//! One request of a stream: a message for an RPC.

use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::super::answer::Answer;
use super::super::normalize::Shift;
use super::super::schema;
use super::super::subject::field;
use super::super::values::Values;

/// A request, with revisions that count from the start of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The RPC.
    pub method: MethodDescriptor,
    /// What is asked.
    pub message: DynamicMessage,
}

impl Request {
    /// A request of the RPC that scripts call `rpc`.
    pub fn new(rpc: &str, typed: &impl Message) -> Request {
        let method = schema::method(rpc).expect("the RPC exists");
        let mut message = DynamicMessage::new(method.input());
        message.transcode_from(typed).expect("the message is of the RPC's input type");
        Request { method, message }
    }

    /// The hash of everything.
    pub fn hash_kv() -> Request {
        Request::new("HashKV", &rusd_proto::etcdserverpb::HashKvRequest::default())
    }

    /// The same RPC with another message.
    #[must_use]
    pub fn with(&self, message: DynamicMessage) -> Request {
        Request { method: self.method.clone(), message }
    }

    /// Name of the RPC.
    pub fn rpc(&self) -> &str {
        self.method.name()
    }

    /// What it is counted as.
    pub fn kind(&self) -> String {
        let is_set = |name: &str| self.message.has_field_by_name(name);
        let more = match self.rpc() {
            "Watch" if is_set("create_request") => " create",
            "Watch" if is_set("cancel_request") => " cancel",
            "Watch" => " progress",
            "Compact" if is_set("physical") => " physical",
            _ => "",
        };
        format!("{}{more}", self.rpc())
    }

    /// The message as a script writes it.
    pub fn text(&self) -> String {
        let fields = Shift(0).show(&self.message, &Values::default());
        if fields.is_empty() { String::new() } else { Answer::Message(fields).flat() }
    }

    /// Requests that are part of this one: the operations of a transaction.
    pub fn parts(&self) -> Vec<Request> {
        if self.rpc() != "Txn" {
            return Vec::new();
        }
        let branches = ["success", "failure"].map(|name| field(&self.message, name));
        let ops = branches.iter().flatten().filter_map(|list| list.as_list()).flatten();
        let parts = ops.filter_map(|op| {
            let op = op.as_message()?;
            let (set, value) = op.fields().next()?;
            let rpc = match set.name() {
                "request_range" => "Range",
                "request_put" => "Put",
                "request_delete_range" => "DeleteRange",
                _ => "Txn",
            };
            let method = schema::method(rpc).expect("the RPC exists");
            Some(Request { method, message: value.as_message()?.clone() })
        });
        parts.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn request(rpc: &str, text: &str) -> Request {
        let method = schema::method(rpc).unwrap();
        let message = DynamicMessage::parse_text_format(method.input(), text).unwrap();
        Request { method, message }
    }

    /// What is printed is what was sent.
    #[test]
    fn a_request_is_written_as_it_is_read() {
        for (rpc, text) in [
            ("Put", r#"key: "a" value: "\x00\xff" lease: 3 prev_kv: true"#),
            ("Range", r#"key: "a" range_end: "\x00" revision: 3 sort_order: 5 sort_target: MOD"#),
            ("Range", r#"key: "a" limit: -1 revision: -1"#),
            ("Txn", r#"compare { key: "a" version: 0 } success { } success { request_txn { } }"#),
            ("Watch", "create_request { filters: NOPUT filters: NODELETE }"),
            ("Watch", "progress_request { }"),
            ("LeaseLeases", ""),
        ] {
            assert_eq!(request(rpc, text).text(), text);
        }
    }

    #[test]
    fn the_operations_of_a_transaction_are_its_parts() {
        let text = r#"success { request_put { key: "a" } } success { } failure { request_txn {} }"#;
        let parts = request("Txn", text).parts();
        let parts: Vec<String> =
            parts.iter().map(|part| format!("{} {}", part.rpc(), part.text())).collect();
        assert_eq!(parts, [r#"Put key: "a""#, "Txn "]);
        assert!(request("Put", r#"key: "a""#).parts().is_empty());
    }
}
