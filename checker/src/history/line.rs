//! Lines of operations, written by whoever measures while he records: at a tenth of what the
//! general way costs.
//!
//! Invariant: the line is the one that [`Writer::write`](super::jsonl::Writer::write) makes. What is
//! rare goes the general way, part by part.

use serde::Serialize;

use super::record::{
    KeyValue, Operation, Outcome, Put, PutResponse, Range, RangeResponse, Request, Response,
    ResponseBody,
};
use super::text::{BASE64_PREFIX, Text};

/// Appends an operation as the line that a writer makes of it, for whoever gathers lines before
/// they go to a [writer](super::jsonl::Writer::append).
pub fn append_operation(lines: &mut Vec<u8>, operation: &Operation) {
    let Operation { process, member, call_ns, return_ns, request, outcome } = operation;
    lines.extend_from_slice(b"{\"t\":\"op\",\"p\":");
    general(lines, process);
    field(lines, b",\"m\":", member);
    field(lines, b",\"c\":", call_ns);
    if let Some(return_ns) = return_ns {
        field(lines, b",\"r\":", return_ns);
    }
    lines.extend_from_slice(b",\"q\":");
    match request {
        Request::Put(request) => put(lines, request),
        Request::Range(request) => range(lines, request),
        _ => general(lines, request),
    }
    lines.extend_from_slice(b",\"o\":");
    match outcome {
        Outcome::Ok(Response {
            revision,
            body: ResponseBody::Put(PutResponse { prev_kv: None }),
        }) => {
            field(lines, b"{\"ok\":{\"rev\":", revision);
            lines.extend_from_slice(b",\"b\":{\"put\":{}}}}");
        }
        Outcome::Ok(Response { revision, body: ResponseBody::Range(answer) }) => {
            field(lines, b"{\"ok\":{\"rev\":", revision);
            range_answer(lines, answer);
        }
        _ => general(lines, outcome),
    }
    lines.extend_from_slice(b"}\n");
}

fn general<T: Serialize>(lines: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(lines, value).expect("a vector grows, and keys are text");
}

fn field<T: Serialize>(lines: &mut Vec<u8>, name: &[u8], value: &T) {
    lines.extend_from_slice(name);
    general(lines, value);
}

/// A field that is left out if it is 0.
fn number(lines: &mut Vec<u8>, name: &[u8], value: i64) {
    if value != 0 {
        field(lines, name, &value);
    }
}

/// A field that is left out if it does not hold.
fn claim(lines: &mut Vec<u8>, text: &[u8], holds: bool) {
    if holds {
        lines.extend_from_slice(text);
    }
}

/// A text. Most need no escape, and stand as they are.
fn text(lines: &mut Vec<u8>, text: &Text) {
    let bytes = text.as_bytes();
    let is_plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(byte));
    if is_plain && !bytes.starts_with(BASE64_PREFIX.as_bytes()) {
        lines.push(b'"');
        lines.extend_from_slice(bytes);
        lines.push(b'"');
    } else {
        general(lines, text);
    }
}

fn put(lines: &mut Vec<u8>, put: &Put) {
    let Put { key, value, lease, prev_kv, ignore_value, ignore_lease } = put;
    lines.extend_from_slice(b"{\"put\":{\"k\":");
    text(lines, key);
    if !value.is_empty() {
        lines.extend_from_slice(b",\"v\":");
        text(lines, value);
    }
    number(lines, b",\"lease\":", *lease);
    claim(lines, b",\"prev_kv\":true", *prev_kv);
    claim(lines, b",\"ignore_value\":true", *ignore_value);
    claim(lines, b",\"ignore_lease\":true", *ignore_lease);
    lines.extend_from_slice(b"}}");
}

fn range(lines: &mut Vec<u8>, range: &Range) {
    let Range { key, range_end, revision, limit, serializable, keys_only, count_only } = range;
    lines.extend_from_slice(b"{\"range\":{\"k\":");
    text(lines, key);
    if !range_end.is_empty() {
        lines.extend_from_slice(b",\"e\":");
        text(lines, range_end);
    }
    number(lines, b",\"rev\":", *revision);
    number(lines, b",\"limit\":", *limit);
    claim(lines, b",\"serializable\":true", *serializable);
    claim(lines, b",\"keys_only\":true", *keys_only);
    claim(lines, b",\"count_only\":true", *count_only);
    lines.extend_from_slice(b"}}");
}

/// The rest of an outcome, after its revision.
fn range_answer(lines: &mut Vec<u8>, answer: &RangeResponse) {
    let RangeResponse { kvs, count, more } = answer;
    lines.extend_from_slice(b",\"b\":{\"range\":{");
    if !kvs.is_empty() {
        lines.extend_from_slice(b"\"kvs\":[");
        for (place, kv) in kvs.iter().enumerate() {
            claim(lines, b",", place > 0);
            key_value(lines, kv);
        }
        lines.extend_from_slice(b"],");
    }
    field(lines, b"\"count\":", count);
    claim(lines, b",\"more\":true", *more);
    lines.extend_from_slice(b"}}}}");
}

fn key_value(lines: &mut Vec<u8>, kv: &KeyValue) {
    let KeyValue { key, value, create_revision, mod_revision, version, lease } = kv;
    lines.extend_from_slice(b"{\"k\":");
    text(lines, key);
    if !value.is_empty() {
        lines.extend_from_slice(b",\"v\":");
        text(lines, value);
    }
    field(lines, b",\"cr\":", create_revision);
    field(lines, b",\"mr\":", mod_revision);
    field(lines, b",\"ver\":", version);
    number(lines, b",\"lease\":", *lease);
    lines.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::record::{Failure, LeaseId, Record};
    use super::*;

    fn requests() -> Vec<Request> {
        let texts = ["", "plain", "a \"quote\" and \\", "base64:x", "\u{7f}\n", "\u{e4}", "~ !"];
        let mut requests = vec![Request::LeaseRevoke(LeaseId { id: 7 })];
        for (place, word) in (0..).zip(texts) {
            let [key, value] = [Text::from(word), Text::from(texts[6 - place])];
            let odd = place % 2 == 1;
            let number = i64::try_from(place).unwrap() - 2;
            requests.push(Request::Put(Put {
                key: key.clone(),
                value: value.clone(),
                lease: number,
                prev_kv: odd,
                ignore_value: !odd,
                ignore_lease: odd,
            }));
            requests.push(Request::Range(Range {
                key,
                range_end: value,
                revision: number,
                limit: -number,
                serializable: odd,
                keys_only: !odd,
                count_only: odd,
            }));
        }
        requests.push(Request::Put(Put { key: Text::from(&[0xff, 0][..]), ..Put::default() }));
        requests
    }

    fn outcomes() -> Vec<Outcome> {
        let kv = |number: i64| KeyValue {
            key: Text::from("k"),
            value: Text::from(if number == 0 { "" } else { "v\t" }),
            create_revision: number,
            mod_revision: i64::MAX,
            version: -number,
            lease: number,
        };
        let put = |prev_kv| ResponseBody::Put(PutResponse { prev_kv });
        let range = |kvs, more| ResponseBody::Range(RangeResponse { kvs, count: 3, more });
        let failure = || Failure { code: "Unavailable".to_owned(), message: "\"gone\"".to_owned() };
        let ok = |body| Outcome::Ok(Response { revision: -9, body });
        vec![
            ok(put(None)),
            ok(put(Some(kv(1)))),
            ok(range(vec![], false)),
            ok(range(vec![kv(0), kv(2)], true)),
            ok(ResponseBody::LeaseRevoke),
            Outcome::Fail(failure()),
            Outcome::Unknown(failure()),
        ]
    }

    #[test]
    fn lines_are_those_of_the_writer() {
        for request in requests() {
            for outcome in outcomes() {
                let return_ns = (!matches!(outcome, Outcome::Unknown(_))).then_some(u64::MAX);
                let (request, member) = (request.clone(), u32::MAX);
                let operation =
                    Operation { process: 3, member, call_ns: 0, return_ns, request, outcome };
                let mut line = Vec::new();
                append_operation(&mut line, &operation);
                let general = serde_json::to_string(&Record::Op(operation)).unwrap() + "\n";
                assert_eq!(String::from_utf8(line).unwrap(), general);
            }
        }
    }
}
