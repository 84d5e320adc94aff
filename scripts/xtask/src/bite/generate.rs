//! Semantic bugs, and the generator that must find them.
//!
//! Each is one wrong answer that no fault is needed to see. The generator runs streams on the
//! broken rusd and etcd until they differ, and must shrink what it found to a few requests that
//! name what is broken. The control runs the same streams without the bug.

use anyhow::Result;

use crate::generate::{Found, Generate};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

/// Requests that a found bug may need.
const REQUESTS_MAX: u64 = 6;
/// Streams until which it must be found.
const STREAMS: u64 = 1000;

/// A bug of the state machine.
pub(super) struct Plant {
    /// Value of `RUSD_PLANT`.
    pub(super) name: &'static str,
    /// What it does, for people.
    what: &'static str,
    /// A request that the script must have, which is what is broken.
    asks: &'static str,
}

pub(super) const PLANTS: [Plant; 5] = [
    Plant {
        name: "version-survives-delete",
        what: "a key made again after its deletion goes on counting versions",
        asks: "DeleteRange",
    },
    Plant {
        name: "count-up-to-limit",
        what: "the count of a range is at most its limit",
        asks: "limit: ",
    },
    Plant {
        name: "missing-value-compares",
        what: "the value of a missing key compares as an empty one",
        asks: "target: VALUE",
    },
    Plant {
        name: "lease-stays",
        what: "a put without a lease leaves the key with its lease",
        asks: "lease: ",
    },
    Plant {
        name: "compact-revision-unreadable",
        what: "the compact revision itself cannot be read",
        asks: "Compact",
    },
];

/// Runs bugs; the table is kept when all are there.
pub(super) fn run(plants: &[&Plant], broken: &Binaries, seed: u64) -> Result<Steps> {
    let mut steps = Steps::default();
    let mut shown = Vec::new();
    for plant in plants {
        steps.run(&format!("{}: found and shrunk", plant.name), || {
            found(plant, broken, seed, &mut shown)
        });
    }
    steps.run("without a bug: nothing is found", || not_found(broken, seed));
    if plants.len() == PLANTS.len() {
        let mut lines = steps.table();
        lines.extend(shown);
        report::keep("bite-generate.md", &lines)?;
    }
    Ok(steps)
}

fn found(plant: &Plant, broken: &Binaries, seed: u64, shown: &mut Vec<String>) -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    let found = generate(broken, plant.name, Some(plant.name), STREAMS, seed)?;
    for difference in &found.differences {
        shown.extend([String::new(), format!("## {}: {}", plant.name, plant.what), String::new()]);
        shown.extend(["```".to_owned(), difference.script.trim_end().to_owned(), "```".to_owned()]);
    }
    Ok(judge(plant, &found))
}

/// Nothing else may have been found before it: the sound rusd differs nowhere.
fn judge(plant: &Plant, found: &Found) -> Outcome {
    let Some(difference) = found.differences.first() else {
        return Outcome::Failed(format!("{}: not found; {}", plant.what, found.headline));
    };
    let requests = difference.requests;
    let note = format!("{}: shrunk to {requests} requests", plant.what);
    if requests > REQUESTS_MAX {
        Outcome::Failed(format!("{note}, more than {REQUESTS_MAX}"))
    } else if !difference.script.contains(plant.asks) {
        Outcome::Failed(format!("{note}, without {:?}", plant.asks))
    } else {
        Outcome::Passed(note)
    }
}

fn not_found(broken: &Binaries, seed: u64) -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    let found = generate(broken, "unplanted", None, STREAMS / 5, seed)?;
    Ok(if found.differences.is_empty() {
        Outcome::Passed(found.headline)
    } else {
        Outcome::Failed(found.headline)
    })
}

fn generate(
    broken: &Binaries,
    name: &str,
    plant: Option<&str>,
    streams: u64,
    seed: u64,
) -> Result<Found> {
    peers::build(false)?;
    let out = workspace::target().join("bite-runs").join(name);
    let mut generate = Generate::new(broken, out);
    let (streams, seed) = (streams.to_string(), seed.to_string());
    generate.command.args(["--streams", &streams, "--seed", &seed]);
    // One at a time, so that the first difference is the only one.
    generate.command.args(["--differences", "1", "--jobs", "1"]);
    match plant {
        Some(plant) => generate.command.env("RUSD_PLANT", plant),
        None => generate.command.env_remove("RUSD_PLANT"),
    };
    generate.run()
}

#[cfg(test)]
mod tests {
    use super::super::super::generate::Difference;
    use super::*;

    #[test]
    fn a_bug_is_found_only_by_a_short_script_of_it() {
        let plant = &PLANTS[1];
        for (requests, script, passes) in [
            (2, "Range key: \"a\" limit: 1", true),
            (7, "Range key: \"a\" limit: 1", false),
            (2, "Range key: \"a\"", false),
        ] {
            let difference = Difference { requests, script: script.to_owned() };
            let found = Found::of(vec![difference]);
            assert_eq!(matches!(judge(plant, &found), Outcome::Passed(_)), passes, "{script}");
        }
        assert!(matches!(judge(plant, &Found::of(Vec::new())), Outcome::Failed(_)));
    }
}
