//! When faults that have a name began and ended, for those that wait for them.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::schedule::Planned;

/// When faults that have a name began and ended, the first time.
#[derive(Debug, Default)]
pub(super) struct Moments {
    named: BTreeMap<String, Named>,
}

#[derive(Debug, Default)]
struct Named {
    begun: CancellationToken,
    ended: CancellationToken,
}

impl Moments {
    pub(super) fn of(timetable: &[Planned]) -> Moments {
        let names = timetable.iter().filter_map(|planned| planned.name.clone());
        Moments { named: names.map(|name| (name, Named::default())).collect() }
    }

    pub(super) fn begin(&self, planned: &Planned) {
        if let Some(named) = self.named_as(planned) {
            named.begun.cancel();
        }
    }

    pub(super) fn end(&self, planned: &Planned) {
        if let Some(named) = self.named_as(planned) {
            named.ended.cancel();
        }
    }

    /// Waits until the fault has begun; for ever if it is not on the timetable.
    pub(super) async fn has_begun(&self, name: &str) {
        self.wait(name, |named| &named.begun).await;
    }

    /// Waits until the fault has ended; for ever if it is not on the timetable.
    pub(super) async fn has_ended(&self, name: &str) {
        self.wait(name, |named| &named.ended).await;
    }

    async fn wait(&self, name: &str, token: impl Fn(&Named) -> &CancellationToken) {
        match self.named.get(name) {
            Some(named) => token(named).cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn named_as(&self, planned: &Planned) -> Option<&Named> {
        self.named.get(planned.name.as_ref()?)
    }
}
