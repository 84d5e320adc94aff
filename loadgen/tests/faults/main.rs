//! Every kind of fault, done to a real cluster, and the effect that it must have.
//!
//! The cluster is of the rusd beside the built `loadgen` (`cargo build --bin rusd`); with
//! `LOADGEN_E2E_SYSTEM=etcd` and `LOADGEN_E2E_BINARY` it is of that etcd. What the machine does not let
//! us do fails, and says what to do about it. The faults that a member acts out itself need a build of
//! rusd of their own, and the feature `failpoints` of this package, which only says that there is one.
//! Times are bounded from below only, so that a slow machine changes nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "failpoints")]
mod acted;
mod disks;
mod files;
mod links;
mod members;
mod partitions;
mod processes;
mod scene;

use std::path::Path;

use rusd_loadgen::nemesis::doctor::Machine;
use rusd_loadgen::workload::System;

const TESTS: [&str; 7] = [
    include_str!("acted.rs"),
    include_str!("disks.rs"),
    include_str!("files.rs"),
    include_str!("links.rs"),
    include_str!("members.rs"),
    include_str!("partitions.rs"),
    include_str!("processes.rs"),
];

/// Whoever adds a kind of fault shows its effect here.
#[test]
fn every_kind_that_is_offered_has_a_test() {
    let findings = Machine::look(System::Rusd, Path::new("none")).findings();
    for finding in findings.iter().filter(|finding| finding.through != "not offered") {
        // `kill, lose_unsynced` is a kill with a word more.
        let (kind, word) = finding.fault.split_once(", ").unwrap_or((finding.fault, ""));
        let begins = [format!("fault(\"{kind}\", "), format!("lasting(\"{kind}\", ")];
        let is_done = |text: &str| begins.iter().any(|begin| text.contains(begin));
        let has = TESTS.iter().any(|text| is_done(text) && text.contains(word));
        assert!(has, "no test of {}", finding.fault);
    }
}
