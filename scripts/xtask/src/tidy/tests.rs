//! Each rule is seen to fail on a small tree with one violation planted, and to pass without it.

use super::tree::{File, Tree};
use super::{Finding, RULES, files, goldens, imports, manifests, words};

/// A tree that breaks no rule.
const CLEAN: &[(&str, &str)] = &[
    (
        "rusd/state/Cargo.toml",
        "[package]\nname = \"rusd-state\"\n[dependencies]\nrusd-proto = {}\n",
    ),
    ("rusd/state/src/lib.rs", "//! State.\npub mod mvcc;\n"),
    ("rusd/state/src/mvcc/store.rs", "//! Store.\nuse crate::storage::History;\n"),
    ("rusd/state/src/storage/block.rs", "//! Blocks.\nuse crate::mvcc::revision::Revision;\n"),
    ("rusd/state/src/storage/sled.rs", "//! The adapter.\nuse sled::Db;\n"),
    ("rusd/state/tests/golden.rs", "//! Golden.\nconst AREA: &str = \"testdata/lease\";\n"),
    ("rusd/state/testdata/lease/expires", "grant 1\n---\nok\n"),
    ("rusd/src/api/kv.rs", "//! KV.\nuse crate::consensus::Proposer;\nuse rusd_state::View;\n"),
];

fn tree(planted: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in CLEAN.iter().chain(planted) {
        let size_bytes = u64::try_from(text.len()).unwrap();
        let file = File { size_bytes, text: Some((*text).to_owned()) };
        tree.files.insert((*path).to_owned(), file);
    }
    tree
}

/// The only finding of a rule on the clean tree with `planted` added.
#[track_caller]
fn finding(rule: fn(&Tree) -> Vec<Finding>, planted: &[(&str, &str)]) -> Finding {
    let mut findings = rule(&tree(planted));
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn the_clean_tree_breaks_no_rule() {
    for (name, rule) in RULES {
        assert_eq!(rule(&tree(&[])), [], "{name}");
    }
}

#[test]
fn a_lower_package_does_not_depend_on_an_upper_one() {
    let manifest = "[package]\nname = \"rusd-state\"\n[dev-dependencies]\nrusd = {}\n";
    let found = finding(manifests::packages, &[("rusd/state/Cargo.toml", manifest)]);
    assert_eq!(
        found,
        Finding::at("rusd/state/Cargo.toml", 4, "rusd-state must not depend on rusd")
    );
}

#[test]
fn the_server_does_not_depend_on_the_harness_even_renamed_or_for_one_target() {
    let manifest = "[package]\nname = \"rusd\"\n[target.'cfg(unix)'.dependencies]\n\
                    judge = { package = \"rusd-checker\" }\n";
    let found = finding(manifests::packages, &[("rusd/Cargo.toml", manifest)]);
    assert_eq!(found, Finding::at("rusd/Cargo.toml", 4, "rusd must not depend on rusd-checker"));
}

#[test]
fn a_new_package_must_be_placed_in_the_layers() {
    let found = finding(manifests::packages, &[("extra/Cargo.toml", "[package]\nname = \"x\"\n")]);
    assert_eq!(found.place, "extra/Cargo.toml");
}

#[test]
fn a_client_outside_of_the_workspace_uses_no_package_of_it() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nrusd-proto = \"0.1\"\n";
    let found = finding(manifests::packages, &[("scripts/clients/rust/Cargo.toml", manifest)]);
    assert!(found.what.contains("it uses rusd-proto"), "{}", found.what);
}

#[test]
fn a_pure_package_names_no_runtime() {
    let manifest = "[package]\nname = \"rusd-raft\"\n[dependencies]\ntokio = \"1\"\n";
    let found = finding(manifests::runtimes, &[("rusd/raft/Cargo.toml", manifest)]);
    assert_eq!(found.place, "rusd/raft/Cargo.toml:4");
}

#[test]
fn code_does_not_use_a_package_above_even_without_a_use() {
    let planted = ("rusd/state/src/apply.rs", "//! Apply.\nfn f() { rusd_loadgen::run(); }\n");
    let found = finding(imports::packages, &[planted]);
    assert_eq!(found.place, "rusd/state/src/apply.rs:2");
}

#[test]
fn a_package_named_in_a_comment_or_a_string_is_not_used() {
    let planted =
        ("rusd/state/src/apply.rs", "//! See rusd_loadgen::run.\nconst S: &str = \"rusd::x\";\n");
    assert_eq!(imports::packages(&tree(&[planted])), []);
}

#[test]
fn storage_does_not_import_mvcc_even_in_a_group() {
    let text = "//! Blocks.\nuse crate::{storage::schema, mvcc::{revision::Revision, store}};\n";
    let found = finding(imports::modules, &[("rusd/state/src/storage/block.rs", text)]);
    let what = "storage must not import crate::mvcc::store: it is above";
    assert_eq!(found, Finding::at("rusd/state/src/storage/block.rs", 2, what));
}

#[test]
fn the_applier_does_not_import_the_api() {
    let planted = ("rusd/src/applier.rs", "//! Applier.\n\nuse crate::api::kv;\n");
    let found = finding(imports::modules, &[planted]);
    let what = "applier must not import crate::api::kv: it is above";
    assert_eq!(found, Finding::at("rusd/src/applier.rs", 3, what));
}

#[test]
fn a_new_module_must_be_placed_in_the_layers() {
    let found = finding(imports::modules, &[("rusd/src/novelty.rs", "//! New.\n")]);
    assert_eq!(found.place, "rusd/src/novelty.rs");
}

#[test]
fn only_the_adapter_names_the_engine() {
    let planted = ("rusd/state/src/view.rs", "//! View.\nuse sled::Tree;\n");
    let found = finding(imports::engines, &[planted]);
    assert_eq!(found.place, "rusd/state/src/view.rs:2");
}

#[test]
fn a_file_without_a_heading_is_found() {
    let found = finding(files::documented, &[("rusd/src/api/kv.rs", "\nuse std::fmt;\n")]);
    assert_eq!(found.place, "rusd/src/api/kv.rs:1");
}

#[test]
fn a_file_may_have_800_lines_and_no_more() {
    let at_limit = "//! Long.\n".repeat(800);
    assert_eq!(files::lengths(&tree(&[("rusd/src/api/long.rs", &at_limit)])), []);
    let over = "//! Long.\n".repeat(801);
    assert_eq!(
        finding(files::lengths, &[("rusd/src/api/long.rs", &over)]).place,
        "rusd/src/api/long.rs"
    );
}

#[test]
fn a_blob_is_found_by_its_size() {
    let mut tree = tree(&[]);
    let blob = File { size_bytes: 1_000_001, text: None };
    tree.files.insert("results/run/history".to_owned(), blob);
    assert_eq!(files::blobs(&tree).len(), 1);
}

#[test]
fn build_output_is_found_wherever_it_lies() {
    for path in ["target/debug/rusd.d", "rusd/raft/target/x.d", "checker/libx.rlib"] {
        assert_eq!(finding(files::blobs, &[(path, "")]).place, path);
    }
}

#[test]
fn what_a_test_reads_is_no_build_output() {
    let kept = ("rusd/raft/testdata/wal/0-0.wal", "");
    assert_eq!(files::blobs(&tree(&[kept])), []);
}

#[test]
fn a_golden_file_without_a_test_is_found() {
    let found = finding(goldens::tested, &[("rusd/state/testdata/orphan/case", "x")]);
    assert_eq!(found.place, "rusd/state/testdata/orphan/case");
}

#[test]
fn a_snapshot_without_its_test_is_found() {
    let source = ("loadgen/src/report.rs", "//! Report.\n#[test]\nfn a_table() {}\n");
    let kept = ("loadgen/src/snapshots/loadgen__report__tests__a_table-2.snap", "x");
    let stale = ("loadgen/src/snapshots/loadgen__report__tests__gone.snap", "x");
    assert_eq!(finding(goldens::tested, &[source, kept, stale]).place, stale.0);
}

#[test]
fn unfinished_work_is_found() {
    for word in [concat!("to", "do!()"), concat!("// FIX", "ME later"), concat!("// TO", "DO soon")]
    {
        let text = format!("//! Api.\n{word}\n");
        let found = finding(words::forbidden, &[("rusd/src/api/kv.rs", text.as_str())]);
        assert_eq!(found.place, "rusd/src/api/kv.rs:2", "{word}");
    }
}

#[test]
fn a_path_of_a_machine_is_found_in_any_text() {
    let text = format!("See {}.\n", concat!("/wo", "rk/x"));
    assert_eq!(finding(words::forbidden, &[("README.md", text.as_str())]).place, "README.md:1");
}
