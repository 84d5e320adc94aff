//! What the command line says instead of a workload's file, in one value that is written into the
//! run's folder, so that the run can be done again.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Origin, Pacing, PacingMode, System, Workload, WorkloadError};

/// What the command line says instead of the workload. What it does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Overrides {
    /// Which server is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// The server's executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// Further flags of the server, after those of the workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// How many members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// How long load is offered, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Operations per second, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// The one member that all clients belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<u32>,
    /// Nothing is to be broken.
    pub no_faults: bool,
    /// Whether a history is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    /// Where the workload's trace is, if that is not where its text says: a run that is done again
    /// has a copy of its own.
    #[serde(skip)]
    pub trace: Option<PathBuf>,
}

impl Overrides {
    /// The workload of a file's text, with these, validated as it will run: against members at
    /// `endpoints`, or such that we start.
    pub fn workload(
        &self,
        file: &str,
        text: &str,
        endpoints: Option<&[String]>,
    ) -> Result<Workload, WorkloadError> {
        let mut workload = Workload::parse(file, text)?;
        self.apply(&mut workload);
        let mut origin = Origin::Started;
        if let Some(endpoints) = endpoints {
            origin = Origin::Attached;
            let members = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
            workload.cluster.members = Spanned::new(0..0, members);
        }
        workload.validate(file, text, origin)?;
        if let Some(pin) = self.pin.filter(|&pin| pin >= workload.members()) {
            let message = format!(
                "there is no member m{pin} to pin to: they are m0 to m{}",
                workload.members() - 1
            );
            return Err(WorkloadError::at("--pin", "", 0..0, message));
        }
        Ok(workload)
    }

    /// Sets the rate, if one is said. It is constant, but random arrivals stay random; of other
    /// pacing what becomes of operations that are too many stays.
    pub(crate) fn set_rate(&self, workload: &mut Workload) {
        let Some(rate) = self.rate else { return };
        let pacing = std::mem::take(&mut workload.pacing);
        let mode = match pacing.mode() {
            PacingMode::Poisson => PacingMode::Poisson,
            _ => PacingMode::Constant,
        };
        workload.pacing = Pacing {
            mode: Some(Spanned::new(0..0, mode)),
            rate: Some(Spanned::new(0..0, rate)),
            max_in_flight: pacing.max_in_flight,
            overflow: pacing.overflow,
            ..Pacing::default()
        };
    }

    fn apply(&self, workload: &mut Workload) {
        if let Some(system) = self.system {
            // What the file says of another server is not for this one.
            if system != workload.cluster.system {
                workload.cluster.binary = None;
            }
            workload.cluster.system = system;
        }
        if self.binary.is_some() {
            workload.cluster.binary.clone_from(&self.binary);
        }
        workload.cluster.args.extend(self.args.iter().cloned());
        if let Some(members) = self.members {
            workload.cluster.members = Spanned::new(0..0, members);
        }
        if let Some(duration_ms) = self.duration_ms {
            workload.duration = Spanned::new(0..0, Duration::from_millis(duration_ms));
        }
        if let (Some(trace), Some(file)) = (&self.trace, &mut workload.pacing.file) {
            file.get_mut().clone_from(trace);
        }
        self.set_rate(workload);
        if let Some(record) = self.record {
            workload.record = record;
        }
        if self.no_faults {
            workload.break_nothing();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Overflow;

    const TEXT: &str = "duration = \"5s\"\nclients = 2\nmix = { put = 1 }\nkeys = { count = 3 }\n\
                        cluster = { members = 3, args = [\"--a\"] }\n\
                        [[faults]]\nkind = \"kill\"\ntarget = \"any\"\nat = \"1s\"\nfor = \"1s\"\n";

    #[test]
    fn what_is_said_counts_and_what_is_not_stays() {
        let unchanged = Overrides::default().workload("a.toml", TEXT, None).unwrap();
        assert_eq!((unchanged.faults.len(), unchanged.record, unchanged.members()), (1, true, 3));
        let overrides = Overrides {
            system: Some(System::Etcd),
            args: vec!["--b=1".to_owned()],
            members: Some(5),
            duration_ms: Some(1500),
            rate: Some(70),
            pin: Some(4),
            no_faults: true,
            record: Some(false),
            ..Overrides::default()
        };
        let workload = overrides.workload("a.toml", TEXT, None).unwrap();
        assert_eq!(workload.cluster.system, System::Etcd);
        assert_eq!(workload.cluster.args, ["--a", "--b=1"]);
        assert_eq!(*workload.duration.get_ref(), Duration::from_millis(1500));
        assert_eq!(*workload.pacing.rate.unwrap().get_ref(), 70);
        assert_eq!((workload.faults.len(), workload.record), (0, false));
        let written = serde_json::to_value(&overrides).unwrap();
        assert_eq!(serde_json::from_value::<Overrides>(written).unwrap(), overrides);
    }

    /// What another mode needs is not for a constant rate, which would be refused with it.
    #[test]
    fn a_rate_replaces_other_pacing_but_for_what_open_loops_share() {
        let over = |pacing: &str| {
            let text = TEXT.replace("[[faults]]", &format!("[pacing]\n{pacing}\n[[faults]]"));
            let overrides = Overrides { rate: Some(70), ..Overrides::default() };
            overrides.workload("a.toml", &text, None).unwrap().pacing
        };
        let ramp =
            over("mode = \"ramp\"\nrate = 1\nto = 9\nmax_in_flight = 4\noverflow = \"drop\"");
        assert_eq!((ramp.mode(), ramp.overflow()), (PacingMode::Constant, Overflow::Drop));
        assert_eq!(*ramp.max_in_flight.unwrap().get_ref(), 4);
        let random = over("mode = \"poisson\"\nrate = 1");
        assert_eq!((random.mode(), *random.rate.unwrap().get_ref()), (PacingMode::Poisson, 70));
        assert_eq!(over("mode = \"closed\"").mode(), PacingMode::Constant);
    }

    #[test]
    fn what_then_cannot_run_is_refused() {
        let refused = |overrides: Overrides| {
            overrides.workload("a.toml", TEXT, None).unwrap_err().to_string()
        };
        let pin = refused(Overrides { pin: Some(3), ..Overrides::default() });
        assert_eq!(pin, "--pin:1:1: there is no member m3 to pin to: they are m0 to m2");
        let short = refused(Overrides { duration_ms: Some(500), ..Overrides::default() });
        assert!(short.starts_with("a.toml:9:6: "), "{short}");
    }
}
