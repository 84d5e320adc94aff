//! The conformance scripts ask for everything that can be asked for: every RPC, every field of
//! every request, and every value of every choice. What is left out is listed here with its reason.
//!
//! That every error is seen is tested where the errors are: `rusd/src/api/status/tests.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value,
};
use rusd_loadgen::conform::library;
use rusd_loadgen::conform::script::{Action, Script};
use rusd_loadgen::conform::values::{Named, Values};

const SERVICES: [&str; 6] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "etcdserverpb.Maintenance",
];

/// RPCs, fields and values that no script asks for, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("Maintenance/Snapshot", "what it sends is a file: `cargo xtask door`"),
    ("Maintenance/Downgrade", "not implemented; says so"),
];

/// What scripts ask for: `Service/Method`, `Message.field`, `Message.field=VALUE`.
#[derive(Default)]
struct Asked(BTreeSet<String>);

impl Asked {
    fn script(&mut self, script: &Script) {
        let mut values = Values::default();
        for name in ["MEMBER", "NAME", "PEER_URL", "CLIENT_URL"] {
            for member in ["", "0", "1", "2"] {
                values.set(&format!("{name}{member}"), stand_in(name));
            }
        }
        for step in &script.steps {
            if let Action::Call { method, request, .. }
            | Action::Open { method, request, .. }
            | Action::Send { method, request, .. } = &step.action
            {
                self.request(script, method, &values, request);
            }
            for (name, path) in &step.names {
                values.set(name, stand_in(path));
            }
        }
    }

    fn request(&mut self, script: &Script, method: &MethodDescriptor, values: &Values, text: &str) {
        self.0.insert(called(method));
        let text = values.substitute(text).expect("every name has a stand-in");
        let message = DynamicMessage::parse_text_format(method.input(), &text);
        self.message(&message.unwrap_or_else(|error| panic!("{}: {text}: {error}", script.name)));
    }

    fn message(&mut self, message: &DynamicMessage) {
        for (field, value) in message.fields() {
            self.0.insert(named(&field));
            self.value(&field, value);
        }
    }

    fn value(&mut self, field: &FieldDescriptor, value: &Value) {
        match (field.kind(), value) {
            (_, Value::List(values)) => values.iter().for_each(|value| self.value(field, value)),
            (_, Value::Message(message)) => self.message(message),
            (Kind::Enum(choices), Value::EnumNumber(number)) => {
                let name = choices.get_value(*number).map_or_else(
                    || "a value that does not exist".to_owned(),
                    |choice| choice.name().to_owned(),
                );
                self.0.insert(format!("{}={name}", named(field)));
            }
            _ => {}
        }
    }
}

/// A value for a name: what it stands for is known only on a server.
fn stand_in(path: &str) -> Named {
    let last = path.rsplit(['.', '_']).next().unwrap_or(path);
    match last.to_ascii_lowercase().as_str() {
        "key" | "name" | "url" | "value" => Named::Bytes(b"stand-in".to_vec()),
        _ => Named::Number(1),
    }
}

fn called(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().name(), method.name())
}

fn named(field: &FieldDescriptor) -> String {
    format!("{}.{}", field.parent_message().name(), field.name())
}

/// Everything that can be asked for.
#[derive(Default)]
struct Askable {
    names: BTreeSet<String>,
    messages: BTreeSet<String>,
}

impl Askable {
    fn all() -> BTreeSet<String> {
        let pool = DescriptorPool::decode(rusd_proto::FILE_DESCRIPTOR_SET)
            .expect("the descriptors were compiled by our build");
        let mut askable = Askable::default();
        for name in SERVICES {
            let service = pool.get_service_by_name(name).expect("it is in them");
            for method in service.methods() {
                askable.names.insert(called(&method));
                // The request of what is left out is left out with it.
                if !LEFT_OUT.iter().any(|(left_out, _)| *left_out == called(&method)) {
                    askable.message(&method.input());
                }
            }
        }
        askable.names
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if !self.messages.insert(message.full_name().to_owned()) {
            return;
        }
        for field in message.fields() {
            self.names.insert(named(&field));
            match field.kind() {
                Kind::Message(inner) => self.message(&inner),
                // The first one is what a field has that is not written.
                Kind::Enum(choices) => {
                    let others = choices.values().filter(|choice| choice.number() != 0);
                    self.names.extend(
                        others.map(|choice| format!("{}={}", named(&field), choice.name())),
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn scripts_ask_for_everything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conform");
    let sources = library::scripts(Some(&folder), None).unwrap();
    let mut asked = Asked::default();
    for source in &sources {
        asked.script(&source.script);
    }
    let askable = Askable::all();
    let left_out: BTreeSet<String> = LEFT_OUT.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<&String> = askable
        .iter()
        .filter(|name| !asked.0.contains(*name) && !left_out.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no script asks for {missing:#?}");
    let stale: Vec<&String> = left_out
        .iter()
        .filter(|name| asked.0.contains(*name) || !askable.contains(*name))
        .collect();
    assert!(stale.is_empty(), "listed as left out, and it is not: {stale:#?}");
    assert!(sources.len() >= 400, "{}", sources.len());
}
