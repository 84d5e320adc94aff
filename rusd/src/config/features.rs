//! `--feature-gates`: etcd's switches for what is not on, or not off, for everybody.

use std::str::FromStr;

/// What a switch can be here.
#[derive(Debug, Clone, Copy)]
enum Gate {
    /// Both ways.
    Switch(fn(&mut Features) -> &mut bool),
    /// Whichever way, a client sees no difference.
    Unseen,
    /// Off: what it switches on is not built.
    Off,
}

/// The switches of etcd 3.7.
const GATES: [(&str, Gate); 9] = [
    ("CompactHashCheck", Gate::Switch(|features| &mut features.compact_hash_check)),
    ("FastLeaseKeepAlive", Gate::Unseen),
    ("InitialCorruptCheck", Gate::Switch(|features| &mut features.initial_corrupt_check)),
    ("LeaseCheckpoint", Gate::Switch(|features| &mut features.lease_checkpoint)),
    ("LeaseCheckpointPersist", Gate::Switch(|features| &mut features.lease_checkpoint_persist)),
    ("PriorityRequest", Gate::Off),
    ("SetMemberLocalAddr", Gate::Off),
    ("StopGRPCServiceOnDefrag", Gate::Unseen),
    ("TxnModeWriteWithSharedBuffer", Gate::Unseen),
];

/// What is switched on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Features {
    /// The members compare what their compactions found.
    pub compact_hash_check: bool,
    /// A member with data compares it with the others' before it starts.
    pub initial_corrupt_check: bool,
    /// The time left to long leases is noted in the log, so that a change of the leader does not
    /// give them all of it again.
    pub lease_checkpoint: bool,
    /// What is noted is also stored. So it is anyway, as in every cluster of etcd 3.6 and later.
    pub lease_checkpoint_persist: bool,
}

/// Switches that cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FeaturesError {
    #[error("missing bool value for {0}")]
    NoValue(String),
    #[error("invalid value of {0}={1}: a boolean is needed")]
    Value(String, String),
    #[error("unrecognized feature gate: {0}")]
    Unknown(String),
    #[error("feature gate {0} is not supported yet")]
    NotBuilt(String),
    #[error(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"
    )]
    PersistAlone,
}

impl FromStr for Features {
    type Err = FeaturesError;

    fn from_str(text: &str) -> Result<Features, FeaturesError> {
        let mut features = Features::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) =
                entry.split_once('=').ok_or_else(|| FeaturesError::NoValue(entry.to_owned()))?;
            let (name, value) = (name.trim(), value.trim());
            let is_on = match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                _ => return Err(FeaturesError::Value(name.to_owned(), value.to_owned())),
            };
            let (_, gate) = GATES
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| FeaturesError::Unknown(name.to_owned()))?;
            match gate {
                Gate::Switch(feature) => *feature(&mut features) = is_on,
                Gate::Off if is_on => return Err(FeaturesError::NotBuilt(name.to_owned())),
                Gate::Off | Gate::Unseen => {}
            }
        }
        if features.lease_checkpoint_persist && !features.lease_checkpoint {
            return Err(FeaturesError::PersistAlone);
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_switched() {
        let parse = |text: &str| text.parse::<Features>().map_err(|error| error.to_string());
        let on = Features { lease_checkpoint: true, ..Features::default() };
        let checks = Features {
            compact_hash_check: true,
            initial_corrupt_check: true,
            ..Features::default()
        };
        let both = Features { lease_checkpoint_persist: true, ..on };
        for (text, expected) in [
            ("", Ok(Features::default())),
            ("LeaseCheckpoint=true", Ok(on)),
            (" LeaseCheckpoint = t , FastLeaseKeepAlive=false", Ok(on)),
            ("LeaseCheckpoint=1,LeaseCheckpointPersist=true", Ok(both)),
            ("CompactHashCheck=true,InitialCorruptCheck=true", Ok(checks)),
            ("PriorityRequest=false", Ok(Features::default())),
            ("PriorityRequest=true", Err("feature gate PriorityRequest is not supported yet")),
            ("Foo=true", Err("unrecognized feature gate: Foo")),
            ("LeaseCheckpoint", Err("missing bool value for LeaseCheckpoint")),
            (
                "LeaseCheckpoint=maybe",
                Err("invalid value of LeaseCheckpoint=maybe: a boolean is needed"),
            ),
            (
                "LeaseCheckpointPersist=true",
                Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                     LeaseCheckpoint"),
            ),
        ] {
            assert_eq!(parse(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
