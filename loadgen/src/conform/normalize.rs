//! From messages to what is compared, and from a script's requests to a server's.
//!
//! A script counts revisions from 1 at its start. The server's revision at that moment, minus one,
//! is the *shift*: it is added to the revisions of requests, and taken off those of answers.
//! Zero and negative revisions mean something else, and stay.

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};

use super::answer::{Field, Shown};
use super::differences::{self, Rule};
use super::values::{Named, Values};

/// Makes messages of one script comparable.
#[derive(Debug, Clone, Copy)]
pub struct Shift(pub i64);

impl Shift {
    /// Makes a script's request the server's.
    pub fn to_server(self, message: &mut DynamicMessage) {
        let name = message.descriptor().name().to_owned();
        for field in message.descriptor().fields() {
            if !message.has_field(&field) {
                continue;
            }
            let is_revision = differences::rule(&name, field.name()) == Rule::Revision;
            match message.get_field_mut(&field) {
                Value::I64(revision) if is_revision && *revision > 0 => {
                    *revision = revision.checked_add(self.0).unwrap_or(*revision);
                }
                Value::Message(inner) => self.to_server(inner),
                Value::List(list) => {
                    for value in list {
                        if let Value::Message(inner) = value {
                            self.to_server(inner);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The script's view of an answer.
    pub fn show(self, message: &DynamicMessage, values: &Values) -> Vec<Field> {
        let name = message.descriptor().name().to_owned();
        let mut fields: Vec<FieldDescriptor> = message.descriptor().fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let mut shown = Vec::new();
        for field in fields.iter().filter(|field| message.has_field(field)) {
            match message.get_field(field).as_ref() {
                Value::List(list) => {
                    let each =
                        list.iter().map(|value| self.show_value(&name, field, value, values));
                    let mut items: Vec<Shown> = each.collect();
                    if differences::is_unordered(&name, field.name()) {
                        items.sort_by_cached_key(|item| format!("{item:?}"));
                    }
                    shown.extend(items.into_iter().map(|item| named(field, item)));
                }
                value => shown.push(named(field, self.show_value(&name, field, value, values))),
            }
        }
        for unknown in message.unknown_fields() {
            let value = Shown::Scalar("*".to_owned());
            shown.push(Field { name: format!("unknown field {}", unknown.number()), value });
        }
        if name == "ResponseHeader" { fold_header(shown) } else { shown }
    }

    fn show_value(
        self,
        message: &str,
        field: &FieldDescriptor,
        value: &Value,
        values: &Values,
    ) -> Shown {
        let rule = differences::rule(message, field.name());
        if let Value::Message(inner) = value {
            return Shown::Message(self.show(inner, values));
        }
        let number = number(value);
        Shown::Scalar(match (rule, number) {
            (Rule::Free, Some(number)) if number < 0 => number.to_string(),
            (Rule::Free, _) => "*".to_owned(),
            (Rule::Revision, Some(revision)) if revision > 0 => {
                (revision - i128::from(self.0)).to_string()
            }
            (Rule::Id, Some(id)) => show_id(id, values),
            (Rule::Words, _) => words(value, values),
            _ => plain(field, value, values),
        })
    }

    /// What `let NAME = PATH` names: the script's view of a revision, anything else as it is.
    pub fn pick(self, message: &DynamicMessage, path: &str) -> Result<Named, String> {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        let (name, index) = indexed(head)?;
        let missing = || format!("the answer has no {path:?}");
        let of = message.descriptor().name().to_owned();
        let field = message.descriptor().get_field_by_name(name).ok_or_else(missing)?;
        let found = message.get_field(&field);
        let value = match found.as_ref() {
            Value::List(list) => list.get(index.unwrap_or(0)).ok_or_else(missing)?,
            value => value,
        };
        match value {
            Value::Message(inner) if !rest.is_empty() => self.pick(inner, rest),
            _ if !rest.is_empty() => Err(missing()),
            Value::Bytes(bytes) => Ok(Named::Bytes(bytes.to_vec())),
            Value::String(text) => Ok(Named::Bytes(text.clone().into_bytes())),
            value => {
                let number = number(value).ok_or_else(missing)?;
                let is_revision = differences::rule(&of, name) == Rule::Revision && number > 0;
                let shift = if is_revision { i128::from(self.0) } else { 0 };
                Ok(Named::Number(number - shift))
            }
        }
    }
}

fn named(field: &FieldDescriptor, value: Shown) -> Field {
    Field { name: field.name().to_owned(), value }
}

/// The three ids that every header has are one `*`: with one of them absent, all are written.
fn fold_header(fields: Vec<Field>) -> Vec<Field> {
    const IDS: [&str; 3] = ["cluster_id", "member_id", "raft_term"];
    let is_id = |field: &Field| IDS.contains(&field.name.as_str());
    if fields.iter().filter(|field| is_id(field)).count() < IDS.len() {
        return fields;
    }
    let all = Field { name: String::new(), value: Shown::Word("*") };
    std::iter::once(all).chain(fields.into_iter().filter(|field| !is_id(field))).collect()
}

fn show_id(id: i128, values: &Values) -> String {
    if let Some(name) = values.name_of_number(id) {
        return format!("${name}");
    }
    let is_servers = u64::try_from(id).is_ok_and(differences::is_servers_own);
    if is_servers { "*".to_owned() } else { id.to_string() }
}

fn words(text: &Value, values: &Values) -> String {
    let words: Vec<&str> = text.as_str().unwrap_or_default().split_whitespace().collect();
    values.show_bytes(words.join(" ").as_bytes())
}

fn plain(field: &FieldDescriptor, value: &Value, values: &Values) -> String {
    match value {
        Value::Bytes(bytes) => values.show_bytes(bytes),
        Value::String(text) => values.show_bytes(text.as_bytes()),
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let known = kind.as_enum().and_then(|all| all.get_value(*number));
            known.map_or_else(|| number.to_string(), |known| known.name().to_owned())
        }
        Value::Map(map) => format!("{:?}", map.keys().collect::<Vec<&MapKey>>()),
        value => value.to_string(),
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::I32(number) => Some((*number).into()),
        Value::I64(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::U64(number) => Some((*number).into()),
        _ => None,
    }
}

/// `kvs[1]` as `kvs` and 1.
fn indexed(part: &str) -> Result<(&str, Option<usize>), String> {
    let Some((name, rest)) = part.split_once('[') else { return Ok((part, None)) };
    let index = rest.strip_suffix(']').and_then(|index| index.parse().ok());
    index.map(|index| (name, Some(index))).ok_or_else(|| format!("bad index in {part:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::schema;
    use super::*;

    fn message(rpc: &str, text: &str) -> DynamicMessage {
        DynamicMessage::parse_text_format(schema::method(rpc).unwrap().output(), text).unwrap()
    }

    fn shown(rpc: &str, text: &str, values: &Values) -> String {
        Answer::Message(Shift(100).show(&message(rpc, text), values)).flat()
    }

    #[test]
    fn revisions_count_from_the_start_of_the_script() {
        let none = Values::default();
        let text = "header { revision: 102 cluster_id: 5 member_id: 6 raft_term: 7 } \
                    prev_kv { key: 'a' create_revision: 101 mod_revision: 102 version: 2 }";
        let expected = r#"header { * revision: 2 } prev_kv { key: "a" create_revision: 1 mod_revision: 2 version: 2 }"#;
        assert_eq!(shown("Put", text, &none), expected);
        let mut request = DynamicMessage::parse_text_format(
            schema::method("Txn").unwrap().input(),
            "compare { target: MOD mod_revision: 3 } compare { target: VERSION version: 3 } \
             success { request_range { key: 'a' revision: 2 } }",
        )
        .unwrap();
        Shift(100).to_server(&mut request);
        let text = request.to_text_format();
        assert!(text.contains("mod_revision:103"), "{text}");
        assert!(text.contains("version:3"), "{text}");
        assert!(text.contains("revision:102"), "{text}");
    }

    #[test]
    fn what_is_absent_is_seen() {
        let none = Values::default();
        let header = "header { revision: 102 }";
        assert_eq!(shown("Put", header, &none), "header { revision: 2 }");
        let header = "header { revision: 102 member_id: 4 }";
        assert_eq!(shown("Put", header, &none), "header { member_id: * revision: 2 }");
    }

    #[test]
    fn ids_have_names_or_are_the_scripts_own() {
        let mut values = Values::default();
        let own = "ID: 7 TTL: 10";
        assert_eq!(shown("LeaseGrant", own, &values), own);
        let servers = "ID: 7587862094458394633 TTL: 10";
        assert_eq!(shown("LeaseGrant", servers, &values), "ID: * TTL: 10");
        let granted = message("LeaseGrant", servers);
        values.set("L", Shift(100).pick(&granted, "ID").unwrap());
        assert_eq!(shown("LeaseGrant", servers, &values), "ID: $L TTL: 10");
        let key = r#"key: "n/694d83a1e8f0a809""#;
        values.set("L", Named::Number(0x694d_83a1_e8f0_a809));
        assert_eq!(shown("Lock", key, &values), r#"key: "n/$L""#);
    }

    #[test]
    fn a_path_names_a_value() {
        let range = message("Range", "header { revision: 105 } kvs { key: 'a' } kvs { key: 'b' }");
        let pick = |path: &str| Shift(100).pick(&range, path);
        assert_eq!(pick("header.revision"), Ok(Named::Number(5)));
        assert_eq!(pick("kvs[1].key"), Ok(Named::Bytes(b"b".to_vec())));
        assert!(pick("kvs[2].key").is_err());
        assert!(pick("no.such").is_err());
    }

    #[test]
    fn lists_without_an_order_are_sorted() {
        let none = Values::default();
        let text = "ID: 7 TTL: 9 grantedTTL: 10 keys: 'b' keys: 'a'";
        let expected = r#"ID: 7 TTL: * grantedTTL: 10 keys: "a" keys: "b""#;
        assert_eq!(shown("LeaseTimeToLive", text, &none), expected);
        assert_eq!(shown("LeaseTimeToLive", "ID: 7 TTL: -1", &none), "ID: 7 TTL: -1");
        let errors = "errors: 'memberID:5  alarm:CORRUPT' errors: 'alarm:NOSPACE'";
        let expected = r#"errors: "alarm:NOSPACE" errors: "memberID:5 alarm:CORRUPT""#;
        assert_eq!(shown("Status", errors, &none), expected);
    }
}
