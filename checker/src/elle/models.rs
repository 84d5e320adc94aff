//! Consistency models: their names, which follows from which, and what each forbids.
//!
//! Data only; [`consistency`](super::consistency) answers questions about it. The facts are those of
//! Elle's `consistency-model` namespace. In it most models have two nodes, one by Adya's name and one by
//! everybody's, which are one here. Forbidden anomalies that no check of ours can find are left out.

use super::anomaly::{Anomaly, CycleClass, CycleKind, Scope};

/// What a store promises of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is a model, called by the name that the table gives it")]
pub enum Model {
    ReadUncommitted,
    ReadCommitted,
    CursorStability,
    MonotonicView,
    MonotonicSnapshotRead,
    MonotonicAtomicView,
    ConsistentView,
    ForwardConsistentView,
    UpdateSerializable,
    RepeatableRead,
    ReadAtomic,
    CausalCerone,
    UpdateAtomic,
    ParallelSnapshotIsolation,
    Prefix,
    SnapshotIsolation,
    ViewSerializable,
    Serializable,
    OneCopySerializable,
    SessionSerializable,
    StrongSessionReadUncommitted,
    StrongSessionReadCommitted,
    StrongSessionSnapshotIsolation,
    StrongSessionSerializable,
    StrongReadUncommitted,
    StrongReadCommitted,
    StrongSnapshotIsolation,
    StrongSerializable,
    Linearizable,
    Sequential,
    Causal,
    WritesFollowReads,
    Pram,
    MonotonicReads,
    MonotonicWrites,
    ReadYourWrites,
}

/// What is known of a model.
pub(crate) struct Row {
    pub(crate) model: Model,
    /// The name that answers use, then others that questions may use.
    pub(crate) names: &'static [&'static str],
    /// Whatever satisfies the model satisfies these, and what they imply.
    pub(crate) implies: &'static [Model],
    /// What it forbids by itself, beside what the models it implies forbid.
    pub(crate) forbids: &'static [Anomaly],
}

const G0: Anomaly = Anomaly::Cycle(CycleKind::G0, Scope::Data);
const G0_PROCESS: Anomaly = Anomaly::Cycle(CycleKind::G0, Scope::Process);
const G0_REALTIME: Anomaly = Anomaly::Cycle(CycleKind::G0, Scope::Realtime);
const G1: Anomaly = Anomaly::Class(CycleClass::G1, Scope::Data);
const G1_PROCESS: Anomaly = Anomaly::Class(CycleClass::G1, Scope::Process);
const G1_REALTIME: Anomaly = Anomaly::Class(CycleClass::G1, Scope::Realtime);
const G1C_PROCESS: Anomaly = Anomaly::Cycle(CycleKind::G1c, Scope::Process);
const G1C_REALTIME: Anomaly = Anomaly::Cycle(CycleKind::G1c, Scope::Realtime);
const G_SINGLE: Anomaly = Anomaly::Class(CycleClass::GSingle, Scope::Data);
const G_NONADJACENT: Anomaly = Anomaly::Class(CycleClass::GNonadjacent, Scope::Data);
const G_NONADJACENT_PROCESS: Anomaly = Anomaly::Class(CycleClass::GNonadjacent, Scope::Process);
const G_NONADJACENT_REALTIME: Anomaly = Anomaly::Class(CycleClass::GNonadjacent, Scope::Realtime);
const G2_ITEM: Anomaly = Anomaly::Cycle(CycleKind::G2Item, Scope::Data);
const G2: Anomaly = Anomaly::Class(CycleClass::G2, Scope::Data);
const G2_PROCESS: Anomaly = Anomaly::Class(CycleClass::G2, Scope::Process);
const G2_REALTIME: Anomaly = Anomaly::Class(CycleClass::G2, Scope::Realtime);

const fn row(
    model: Model,
    names: &'static [&'static str],
    implies: &'static [Model],
    forbids: &'static [Anomaly],
) -> Row {
    Row { model, names, implies, forbids }
}

/// Every model, in the order of the enumeration.
pub(crate) const ROWS: [Row; 36] = {
    use Anomaly::{CyclicVersions, DuplicateElements, FutureRead, G1a, Internal, LostUpdate};
    use Model::{
        Causal, CausalCerone, ConsistentView, CursorStability, ForwardConsistentView, Linearizable,
        MonotonicAtomicView, MonotonicReads, MonotonicSnapshotRead, MonotonicView, MonotonicWrites,
        OneCopySerializable, ParallelSnapshotIsolation, Pram, Prefix, ReadAtomic, ReadCommitted,
        ReadUncommitted, ReadYourWrites, RepeatableRead, Sequential, Serializable,
        SessionSerializable, SnapshotIsolation, StrongReadCommitted, StrongReadUncommitted,
        StrongSerializable, StrongSessionReadCommitted, StrongSessionReadUncommitted,
        StrongSessionSerializable, StrongSessionSnapshotIsolation, StrongSnapshotIsolation,
        UpdateAtomic, UpdateSerializable, ViewSerializable, WritesFollowReads,
    };
    [
        row(
            ReadUncommitted,
            &["read-uncommitted", "PL-1"],
            &[],
            &[G0, DuplicateElements, CyclicVersions],
        ),
        row(ReadCommitted, &["read-committed", "PL-2"], &[ReadUncommitted], &[G1]),
        row(CursorStability, &["cursor-stability", "PL-CS"], &[ReadCommitted], &[G1, LostUpdate]),
        row(MonotonicView, &["monotonic-view", "PL-2L"], &[ReadCommitted], &[G1]),
        row(MonotonicSnapshotRead, &["monotonic-snapshot-read", "PL-MSR"], &[ReadCommitted], &[G1]),
        row(MonotonicAtomicView, &["monotonic-atomic-view"], &[ReadCommitted], &[]),
        row(
            ConsistentView,
            &["consistent-view", "PL-2+"],
            &[CursorStability, MonotonicView],
            &[G1, G_SINGLE],
        ),
        row(
            ForwardConsistentView,
            &["forward-consistent-view", "PL-FCV"],
            &[ConsistentView],
            &[G1],
        ),
        row(UpdateSerializable, &["update-serializable", "PL-3U"], &[ForwardConsistentView], &[G1]),
        row(
            RepeatableRead,
            &["repeatable-read", "PL-2.99"],
            &[CursorStability, MonotonicAtomicView],
            &[G1, G2_ITEM, LostUpdate],
        ),
        row(ReadAtomic, &["read-atomic"], &[MonotonicAtomicView], &[Internal, G1a, FutureRead]),
        row(CausalCerone, &["causal-cerone"], &[ReadAtomic], &[Internal, G1a]),
        row(UpdateAtomic, &["update-atomic"], &[ReadAtomic], &[LostUpdate]),
        row(
            ParallelSnapshotIsolation,
            &["parallel-snapshot-isolation"],
            &[CausalCerone, UpdateAtomic],
            &[Internal, G1a],
        ),
        row(Prefix, &["prefix"], &[CausalCerone], &[Internal, G1a]),
        row(
            SnapshotIsolation,
            &["snapshot-isolation", "PL-SI"],
            &[
                ForwardConsistentView,
                MonotonicAtomicView,
                MonotonicSnapshotRead,
                ParallelSnapshotIsolation,
                Prefix,
            ],
            &[Internal, G1, G_NONADJACENT],
        ),
        row(ViewSerializable, &["view-serializable"], &[], &[]),
        row(
            Serializable,
            &["serializable", "conflict-serializable", "PL-3"],
            &[RepeatableRead, UpdateSerializable, SnapshotIsolation, ViewSerializable],
            &[Internal, G1, G2],
        ),
        row(OneCopySerializable, &["1SR"], &[], &[]),
        row(SessionSerializable, &["session-serializable"], &[OneCopySerializable], &[]),
        row(
            StrongSessionReadUncommitted,
            &["strong-session-read-uncommitted", "strong-session-PL-1"],
            &[ReadUncommitted],
            &[G0_PROCESS],
        ),
        row(
            StrongSessionReadCommitted,
            &["strong-session-read-committed", "strong-session-PL-2"],
            &[ReadCommitted, StrongSessionReadUncommitted],
            &[G1C_PROCESS],
        ),
        row(
            StrongSessionSnapshotIsolation,
            &["strong-session-snapshot-isolation"],
            &[SnapshotIsolation, StrongSessionReadCommitted],
            &[Internal, G1_PROCESS, G_NONADJACENT_PROCESS],
        ),
        row(
            StrongSessionSerializable,
            &["strong-session-serializable"],
            &[Serializable, StrongSessionSnapshotIsolation],
            &[G1_PROCESS, G2_PROCESS],
        ),
        row(
            StrongReadUncommitted,
            &["strong-read-uncommitted", "strong-PL-1"],
            &[StrongSessionReadUncommitted],
            &[G0_REALTIME],
        ),
        row(
            StrongReadCommitted,
            &["strong-read-committed", "strong-PL-2"],
            &[StrongSessionReadCommitted, StrongReadUncommitted],
            &[G1C_REALTIME],
        ),
        row(
            StrongSnapshotIsolation,
            &["strong-snapshot-isolation"],
            &[StrongSessionSnapshotIsolation, StrongReadCommitted],
            &[Internal, G1_REALTIME, G_NONADJACENT_REALTIME],
        ),
        row(
            StrongSerializable,
            &["strong-serializable", "strict-serializable", "PL-SS"],
            &[
                Serializable,
                Linearizable,
                StrongSnapshotIsolation,
                StrongSessionSerializable,
                SessionSerializable,
            ],
            &[G1, G1C_REALTIME, G2_REALTIME],
        ),
        row(Linearizable, &["linearizable"], &[Sequential], &[]),
        row(Sequential, &["sequential"], &[Causal], &[]),
        row(Causal, &["causal"], &[WritesFollowReads, Pram], &[]),
        row(WritesFollowReads, &["writes-follow-reads"], &[], &[]),
        row(Pram, &["PRAM"], &[MonotonicReads, MonotonicWrites, ReadYourWrites], &[]),
        row(MonotonicReads, &["monotonic-reads"], &[], &[]),
        row(MonotonicWrites, &["monotonic-writes"], &[], &[]),
        row(ReadYourWrites, &["read-your-writes"], &[], &[]),
    ]
};
