//! The published schemas are those of the types that are written.
//!
//! A run with `UPDATE_GOLDEN=1` writes them anew. That what is written keeps to them is held by a
//! test beside the types.

use std::fs;
use std::path::Path;

use rusd_loadgen::report::schema;

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schemas = [
        ("run.json", schema::run()),
        ("compare.json", schema::comparison()),
        ("search.json", schema::search()),
    ];
    for (name, schema) in schemas {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "{name} is stale: UPDATE_GOLDEN=1 writes it anew");
    }
}
