//! The kinds of damage, and which rules must be named for each. Data only.

use rusd_checker::Rule;

use crate::damage::{
    Damage, compactions, ends, leases, reads, resumed, txns, unknown, watches, writes,
};

/// Who says whether a mutant is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Of operations: stateright, where there are few; otherwise it is wrong by construction.
    Operations,
    /// What a watch was told: `views`.
    Watches,
    /// What the members hold at the end: wrong by construction.
    Members,
}

/// A kind of damage.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) damage: Damage,
    pub(crate) about: About,
    /// One of these must be named where watches tell what happened.
    pub(crate) named: &'static [Rule],
    /// One of these will do, besides, where nobody watched: less is known, and other causes are as likely.
    pub(crate) named_unwatched: &'static [Rule],
}

const fn operations(
    name: &'static str,
    damage: Damage,
    named: &'static [Rule],
    named_unwatched: &'static [Rule],
) -> Kind {
    Kind { name, damage, about: About::Operations, named, named_unwatched }
}

const fn watches(name: &'static str, damage: Damage, named: &'static [Rule]) -> Kind {
    Kind { name, damage, about: About::Watches, named, named_unwatched: &[] }
}

const fn members(name: &'static str, damage: Damage, named: &'static [Rule]) -> Kind {
    Kind { name, damage, about: About::Members, named, named_unwatched: &[] }
}

const RESPONSE: &[Rule] = &[Rule::ContentResponse];

/// Every kind.
pub(crate) const KINDS: &[Kind] = &[
    operations("a stale read", reads::stale, &[Rule::StaleRead], &[]),
    operations("a read of older content", reads::stale_content, RESPONSE, &[]),
    operations("a read of the future", reads::future, &[Rule::FutureRead], &[Rule::LostWrite]),
    operations("a read beyond the newest revision", reads::beyond, RESPONSE, &[]),
    operations("a wrong value", reads::wrong_value, RESPONSE, &[]),
    operations("a wrong version", reads::wrong_version, RESPONSE, &[]),
    operations("a wrong create revision", reads::wrong_create_revision, RESPONSE, &[]),
    operations("a wrong mod revision", reads::wrong_mod_revision, RESPONSE, &[]),
    operations("a wrong lease", reads::wrong_lease, RESPONSE, &[]),
    operations("a key is missing", reads::missing_key, RESPONSE, &[]),
    operations("a deleted key is there", reads::extra_key, RESPONSE, &[]),
    operations("a wrong count", reads::wrong_count, RESPONSE, &[]),
    operations("a wrong 'more'", reads::wrong_more, RESPONSE, &[]),
    operations("keys out of order", reads::wrong_order, RESPONSE, &[]),
    operations("a limit ignored", reads::limit_ignored, RESPONSE, &[]),
    operations("values nobody asked for", reads::values_unasked, RESPONSE, &[]),
    operations(
        "a lost write, its revision taken again",
        writes::revision_taken_again,
        &[Rule::LostWrite],
        &[],
    ),
    operations(
        "a lost write, another in its place",
        writes::replaced,
        &[Rule::LostWrite],
        &[Rule::ContentResponse, Rule::RevisionGap],
    ),
    operations("a duplicate revision", writes::duplicate_revision, &[Rule::RevisionDuplicate], &[]),
    operations(
        "swapped revisions",
        writes::swapped_revisions,
        &[Rule::ContentResponse],
        &[Rule::LostWrite, Rule::StaleRead],
    ),
    operations(
        "a revision of the future",
        writes::revision_of_the_future,
        &[Rule::LostWrite, Rule::RevisionGap],
        &[Rule::StaleRead, Rule::LeaseLifecycle],
    ),
    operations(
        "another value stored",
        writes::other_value_stored,
        &[Rule::WatchContent, Rule::ContentResponse],
        &[Rule::TxnBranch],
    ),
    operations("a write of nobody", writes::vanished, &[Rule::RevisionGap], &[]),
    operations(
        "a write seen before its call",
        writes::seen_before_its_call,
        &[Rule::LostWrite],
        &[],
    ),
    operations("a put forgets what was before", writes::forgotten_prev_kv, RESPONSE, &[]),
    operations("a put invents what was before", writes::invented_prev_kv, RESPONSE, &[]),
    operations("a delete counts one more", writes::wrong_deleted, RESPONSE, &[]),
    operations(
        "a delete denies what it did",
        writes::denied_delete,
        &[Rule::RevisionGap],
        &[Rule::ContentResponse],
    ),
    operations("the wrong branch", txns::other_branch, &[Rule::TxnBranch], &[]),
    operations("a branch only claimed", txns::flipped, &[Rule::TxnBranch], &[]),
    operations("a stale read in a transaction", txns::stale_read, RESPONSE, &[]),
    operations("half of a transaction is seen", txns::half_seen, RESPONSE, &[]),
    operations("phantom: said to have failed", unknown::claimed_failed, &[Rule::RevisionGap], &[]),
    operations("phantom: asked by nobody", unknown::asked_by_nobody, &[Rule::RevisionGap], &[]),
    operations(
        "phantom: asked too late",
        unknown::asked_too_late,
        &[Rule::RevisionGap, Rule::FutureRead],
        &[],
    ),
    operations(
        "phantom: read, never happened",
        unknown::read_though_it_never_happened,
        &[Rule::ContentResponse, Rule::FutureRead],
        &[],
    ),
    watches(
        "phantom: watched, never happened",
        unknown::watched_though_it_never_happened,
        &[Rule::WatchContent, Rule::WatchFilter, Rule::RevisionGap],
    ),
    operations(
        "early expiry after the grant",
        leases::early_after_grant,
        &[Rule::LeaseEarlyExpiry],
        &[Rule::RevisionGap],
    ),
    operations(
        "early expiry after a renewal",
        leases::early_after_renewal,
        &[Rule::LeaseEarlyExpiry],
        &[Rule::RevisionGap],
    ),
    operations("a lease nobody granted", leases::foreign, &[Rule::LeaseLifecycle], &[]),
    operations(
        "a lease used after its revoke",
        leases::used_after_revoke,
        &[Rule::LeaseLifecycle],
        &[],
    ),
    operations("keys outlive their lease", leases::keys_survive, &[Rule::LeaseLifecycle], &[]),
    operations(
        "a lease granted twice",
        leases::granted_twice,
        &[Rule::LeaseLifecycle, Rule::ContentRefusal],
        &[],
    ),
    operations(
        "a lease denied to a put",
        leases::denied_to_a_put,
        &[Rule::ContentRefusal, Rule::LeaseLifecycle],
        &[],
    ),
    operations(
        "a lease denied to a keep-alive",
        leases::denied_to_a_keep_alive,
        &[Rule::LeaseLifecycle],
        &[],
    ),
    operations(
        "a renewal of what nobody granted",
        leases::kept_alive_though_never_granted,
        &[Rule::LeaseLifecycle],
        &[],
    ),
    operations(
        "a grant refused without reason",
        leases::refused_grant,
        &[Rule::ContentRefusal],
        &[],
    ),
    operations(
        "a put refused without reason",
        leases::refused_without_lease,
        &[Rule::ContentRefusal],
        &[],
    ),
    operations(
        "another lease attached",
        leases::other_lease_attached,
        &[Rule::WatchContent, Rule::LeaseLifecycle, Rule::RevisionGap],
        &[Rule::ContentResponse],
    ),
    members("late expiry", leases::late, &[Rule::LeaseLateExpiry]),
    operations(
        "a read below a compaction",
        compactions::read_below,
        &[Rule::ContentCompacted],
        &[],
    ),
    operations(
        "a compaction beyond a read",
        compactions::compacted_beyond_a_read,
        &[Rule::ContentCompacted],
        &[],
    ),
    operations(
        "the newest revision compacted",
        compactions::newest_refused,
        &[Rule::ContentRefusal],
        &[],
    ),
    operations(
        "the past refused as future",
        compactions::past_refused,
        &[Rule::ContentRefusal],
        &[],
    ),
    operations("the future compacted", compactions::future_compacted, RESPONSE, &[]),
    watches("a dropped event", watches::dropped, &[Rule::WatchComplete, Rule::WatchResumable]),
    watches(
        "an event dropped from a revision",
        watches::dropped_from_revision,
        &[Rule::WatchComplete],
    ),
    watches("a doubled response", watches::doubled_response, &[Rule::WatchUnique]),
    watches("a doubled event", watches::doubled_event, &[Rule::WatchUnique]),
    watches("a response repeated later", watches::repeated_later, &[Rule::WatchOrdered]),
    watches("reordered responses", watches::reordered_responses, &[Rule::WatchOrdered]),
    watches("reordered events", watches::reordered_events, &[Rule::WatchOrdered]),
    watches("a split revision", watches::split, &[Rule::WatchAtomic]),
    watches("a fragment without its rest", watches::fragment_without_rest, &[Rule::WatchComplete]),
    watches("an event's wrong value", watches::wrong_value, &[Rule::WatchContent]),
    watches("an event's wrong version", watches::wrong_version, &[Rule::WatchContent]),
    watches(
        "an event's wrong create revision",
        watches::wrong_create_revision,
        &[Rule::WatchContent],
    ),
    watches("an event's wrong lease", watches::wrong_lease, &[Rule::WatchContent]),
    watches(
        "an event's wrong revision",
        watches::wrong_revision,
        &[
            Rule::WatchContent,
            Rule::WatchAtomic,
            Rule::WatchOrdered,
            Rule::WatchUnique,
            Rule::WatchComplete,
        ],
    ),
    watches("an event's wrong key", watches::wrong_key, &[Rule::WatchContent, Rule::WatchComplete]),
    watches("an event's wrong kind", watches::wrong_kind, &[Rule::WatchContent, Rule::WatchFilter]),
    watches(
        "an invented event",
        watches::invented,
        &[Rule::WatchContent, Rule::WatchFilter, Rule::RevisionGap],
    ),
    watches("an event without prev_kv", watches::no_prev_kv, &[Rule::WatchPrevKv]),
    watches("a wrong prev_kv", watches::wrong_prev_kv, &[Rule::WatchPrevKv]),
    watches("a prev_kv from after", watches::prev_kv_is_after, &[Rule::WatchPrevKv]),
    watches("an event of the future", watches::future, &[Rule::WatchNoFuture]),
    watches("progress told too early", watches::early_progress, &[Rule::WatchBookmarkable]),
    watches("events of a kind left out", watches::filtered_kind, &[Rule::WatchFilter]),
    watches("events of other keys", watches::other_keys, &[Rule::WatchFilter]),
    watches("events from before the start", watches::before_start, &[Rule::WatchFilter]),
    watches("a watch never created", watches::never_created, &[Rule::WatchCreated]),
    watches("events after the end", watches::after_the_end, &[Rule::WatchClosed]),
    watches(
        "a cancel without compaction",
        watches::wrongly_compacted,
        &[Rule::WatchCompactedCancel],
    ),
    watches("a resumed watch lacks the first", resumed::without_the_first, &[Rule::WatchResumable]),
    watches("a resumed watch repeats", resumed::from_before_the_break, &[Rule::WatchFilter]),
    members("a member's wrong value", ends::wrong_value, &[Rule::FinalState]),
    members("a member's wrong version", ends::wrong_version, &[Rule::FinalState]),
    members("a member lacks a key", ends::missing_key, &[Rule::FinalState]),
    members("a member has a deleted key", ends::extra_key, &[Rule::FinalState]),
    members("a stale member", ends::stale_member, &[Rule::StaleRead]),
    members("a lost write, no member has it", ends::lost_by_all, &[Rule::LostWrite]),
    members("a member's wrong hash", ends::wrong_hash, &[Rule::FinalHash]),
];
