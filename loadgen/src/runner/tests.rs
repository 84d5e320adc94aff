//! What tests of those that run workloads share.

use super::*;

/// A run of next to nothing, which is never begun.
pub(crate) fn settings() -> Settings {
    let source = "duration = \"1s\"\nclients = 1\nkeys = { count = 1 }\nmix = { get = 1 }\n";
    let workload = Overrides::default().workload("a.toml", source, None).unwrap();
    Settings {
        workload,
        source: source.to_owned(),
        seed: 5,
        command: Vec::new(),
        endpoints: None,
        is_system_named: true,
        results: PathBuf::from("nowhere"),
        keep_data: false,
        overrides: Overrides::default(),
        slo: Vec::new(),
        telling: Telling::Quiet,
        stop_on_violation: false,
    }
}
