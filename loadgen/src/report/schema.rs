//! The JSON Schemas of a run, of a comparison and of a search, made from the types that are written.
//!
//! They are published in `loadgen/schema/`; a test holds those files to the types, and others hold
//! what is written to the schemas. Fields may come with any version of loadgen; one that goes,
//! or means something else, raises [`VERSION`](super::VERSION).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::Written;
use crate::compare::Comparison;
use crate::search::Searched;
use rusd_checker::Rule;

/// The schema of `run.json`.
pub fn run() -> Value {
    of::<Written<'_>>()
}

/// The schema of `compare.json`.
pub fn comparison() -> Value {
    of::<Comparison>()
}

/// The schema of `search.json`.
pub fn search() -> Value {
    of::<Searched>()
}

/// The schema of what a type is written as.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// What the checker says: its own format, told here as far as a reader of a run needs it.
pub(super) fn judgement(_generator: &mut SchemaGenerator) -> Schema {
    let rules: Vec<&str> = Rule::ALL.into_iter().map(Rule::id).collect();
    json_schema!({
        "type": ["object", "null"],
        "required": ["verdict", "engine", "workload", "system", "seed", "counts", "timing"],
        "properties": {
            "verdict": { "enum": ["valid", "invalid", "unknown"] },
            "violations": {
                "description": "Of an invalid history; the likeliest cause comes first.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["rule", "operations", "expected", "got"],
                    "properties": {
                        "rule": { "enum": rules },
                        "operations": {
                            "description": "Lines of the history.",
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["line", "text"],
                                "properties": {
                                    "line": { "type": "integer", "minimum": 0 },
                                    "text": { "type": "string" },
                                },
                            },
                        },
                        "expected": { "type": "string" },
                        "got": { "type": "string" },
                    },
                },
            },
            "omitted": { "type": "integer", "minimum": 0 },
            "reason": { "type": "string" },
            "engine": { "type": "string" },
            "workload": { "type": "string" },
            "system": { "type": "string" },
            "seed": { "type": "integer", "minimum": 0 },
            "counts": { "type": "object" },
            "timing": { "type": "object" },
        },
    })
}
