//! How a member without a log finds its cluster: asked of the other members over HTTP, as in etcd.
//!
//! A member that joins takes the cluster's id and its own from the members that are there; they
//! know it already, since it was added before it was started. A member that founds a cluster asks
//! whether it was not started before: its log may have been lost, and with it votes and entries
//! that it has acknowledged.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use rusd_state::members::Member;
use serde_json::Value;

use super::membership::InitialCluster;
use super::peer_http::{CLUSTER_ID, MEMBERS, PeerAsker, VERSION, question, read_members};
use crate::version;

/// How long a member that joins waits for each URL.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member that founds a cluster waits for each URL: there may be nobody yet.
const FOUND_TIMEOUT: Duration = Duration::from_secs(1);
/// The oldest version of a cluster that can be joined, as in etcd.
const CLUSTER_VERSION_MIN: (u64, u64) = (3, 0);

/// Why a member without a log may not start.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody tells who the members are.
    #[error(
        "cannot fetch cluster info from peer urls: \
         could not retrieve cluster information from the given URLs"
    )]
    NoAnswer,
    /// The members are others than `--initial-cluster` has.
    #[error("error validating peerURLs {existing}: {reason}")]
    Mismatch {
        /// The cluster as its members tell it.
        existing: String,
        /// What differs.
        reason: String,
    },
    /// It runs a version, or a program, that this one cannot work with.
    #[error("incompatible with current running cluster")]
    Incompatible,
    /// `--max-learners` is less than what there is.
    #[error("membership: too many learner members in cluster")]
    TooManyLearners,
    /// The member's log is gone, but not what it has done.
    #[error("member {0:x} has already been bootstrapped")]
    Bootstrapped(u64),
}

/// A cluster that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing {
    /// Its id.
    pub cluster_id: u64,
    /// Its members, ascending by id.
    pub members: Vec<Member>,
}

impl Existing {
    /// As etcd prints it.
    fn describe(&self) -> String {
        let mut members = Vec::new();
        for member in &self.members {
            let mut text = format!("&{{ID:{:x} RaftAttributes:", member.id);
            let (peers, clients) = (member.peer_ur_ls.join(" "), member.client_ur_ls.join(" "));
            let (learner, name) = (member.is_learner, &member.name);
            write!(
                text,
                "{{PeerURLs:[{peers}] IsLearner:{learner}}} \
                 Attributes:{{Name:{name} ClientURLs:[{clients}]}}}}"
            )
            .expect("a string takes everything");
            members.push(text);
        }
        let (id, members) = (self.cluster_id, members.join(" "));
        format!("{{ClusterID:{id:x} Members:[{members}] RemovedMemberIDs:[]}}")
    }
}

/// Finds the running cluster that `flags` describe, and the id that the member called `name` has
/// in it.
pub async fn join(
    asker: &PeerAsker,
    flags: &InitialCluster,
    name: &str,
    learners_max: usize,
) -> Result<(u64, Existing), JoinError> {
    let urls = flags.urls_without(name);
    let existing = fetch(asker, &urls, JOIN_TIMEOUT).await.ok_or(JoinError::NoAnswer)?;
    let own = match_members(flags, name, &existing)
        .await
        .map_err(|reason| JoinError::Mismatch { existing: existing.describe(), reason })?;
    if !is_compatible(asker, &existing, own).await {
        return Err(JoinError::Incompatible);
    }
    let learners = existing.members.iter().filter(|member| member.is_learner).count();
    if learners > learners_max {
        return Err(JoinError::TooManyLearners);
    }
    Ok((own, existing))
}

/// Refuses a member that the others know as started.
pub async fn check_not_started(
    asker: &PeerAsker,
    flags: &InitialCluster,
    name: &str,
) -> Result<(), JoinError> {
    let own = flags.id_of(name);
    let found = fetch(asker, &flags.urls_without(name), FOUND_TIMEOUT).await;
    let mut members = found.into_iter().flat_map(|existing| existing.members);
    match members.find(|member| Some(member.id) == own && !member.client_ur_ls.is_empty()) {
        Some(member) => Err(JoinError::Bootstrapped(member.id)),
        None => Ok(()),
    }
}

/// The cluster as the first of these peers tells it that answers.
async fn fetch(asker: &PeerAsker, urls: &[String], limit: Duration) -> Option<Existing> {
    for url in urls {
        match fetch_from(asker, url, limit).await {
            Ok(existing) if existing.members.is_empty() => return None,
            Ok(existing) => return Some(existing),
            Err(error) => tracing::warn!(url, error, "failed to get cluster response"),
        }
    }
    None
}

async fn fetch_from(asker: &PeerAsker, url: &str, limit: Duration) -> Result<Existing, String> {
    let answer =
        asker.ask(url, question(Method::GET, MEMBERS), limit).await.map_err(|e| e.to_string())?;
    let members = read_members(&answer.body).map_err(|error| error.to_string())?;
    let id = answer.headers.get(CLUSTER_ID).and_then(|id| id.to_str().ok());
    let cluster_id = id
        .and_then(|id| u64::from_str_radix(id, 16).ok())
        .ok_or("the answer does not tell the cluster's ID")?;
    Ok(Existing { cluster_id, members })
}

/// Every member must be in the flags, under the same URLs, and no other. Gives the id of the one
/// that the flags call `name`.
async fn match_members(
    flags: &InitialCluster,
    name: &str,
    existing: &Existing,
) -> Result<u64, String> {
    let mut listed: Vec<_> = flags.members().map(|(_, member)| member).collect();
    if existing.members.len() != listed.len() {
        return Err("member count is unequal".to_owned());
    }
    let mut own = None;
    for member in &existing.members {
        let mut found = None;
        for (at, candidate) in listed.iter().enumerate() {
            if is_same(&member.peer_ur_ls, &candidate.peer_urls).await {
                found = Some(at);
                break;
            }
        }
        let Some(at) = found else {
            let urls = member.peer_ur_ls.join(" ");
            return Err(format!(
                "PeerURLs: no match found for existing member ({:x}, [{urls}])",
                member.id
            ));
        };
        if listed.swap_remove(at).name == name {
            own = Some(member.id);
        }
    }
    own.ok_or_else(|| format!("couldn't find local name {name:?}"))
}

/// The same URLs, or URLs that resolve to the same addresses.
async fn is_same(these: &[String], those: &[String]) -> bool {
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    if sorted(these) == sorted(those) {
        return true;
    }
    match (resolved(these).await, resolved(those).await) {
        (Some(these), Some(those)) => these == those,
        _ => false,
    }
}

async fn resolved(urls: &[String]) -> Option<Vec<(String, SocketAddr)>> {
    let mut addresses = Vec::new();
    for url in urls {
        let (scheme, host) = url.split_once("://")?;
        let address = tokio::net::lookup_host(host).await.ok()?.next()?;
        addresses.push((scheme.to_owned(), address));
    }
    addresses.sort();
    Some(addresses)
}

/// At least one member says that the cluster's version is one that this program can work with, and
/// none says otherwise. They must also speak its protocol, which etcd does not.
async fn is_compatible(asker: &PeerAsker, existing: &Existing, own: u64) -> bool {
    let mut is_sure = false;
    for member in existing.members.iter().filter(|member| member.id != own) {
        let Some(versions) = versions_of(asker, member, JOIN_TIMEOUT).await else { continue };
        let Some(cluster) = major_minor(&versions["etcdcluster"]) else { continue };
        let newest = version::major_minor();
        if !versions["rusd"].is_string() || cluster < CLUSTER_VERSION_MIN || cluster > newest {
            tracing::warn!(member = format!("{:x}", member.id), "incompatible cluster version");
            return false;
        }
        is_sure = true;
    }
    is_sure
}

/// What a member answers to `/version`.
pub(crate) async fn versions_of(
    asker: &PeerAsker,
    member: &Member,
    limit: Duration,
) -> Option<Value> {
    for url in &member.peer_ur_ls {
        let Ok(answer) = asker.ask(url, question(Method::GET, VERSION), limit).await else {
            continue;
        };
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body).ok();
        }
    }
    None
}

/// The first two numbers of a version.
pub(crate) fn major_minor(version: &Value) -> Option<(u64, u64)> {
    let mut numbers = version.as_str()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, url: &str) -> Member {
        Member { id, peer_ur_ls: vec![url.to_owned()], ..Member::default() }
    }

    fn flags(pairs: &[(&str, &str)]) -> InitialCluster {
        let pairs = pairs.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned()));
        InitialCluster::new(pairs, "t")
    }

    #[tokio::test]
    async fn ids_are_those_of_the_members_with_the_same_urls() {
        let existing = Existing {
            cluster_id: 0xc1,
            members: vec![member(5, "http://127.0.0.1:1"), member(6, "http://127.0.0.1:2")],
        };
        let same = flags(&[("a", "http://127.0.0.1:2"), ("b", "http://127.0.0.1:1")]);
        assert_eq!(match_members(&same, "a", &existing).await, Ok(6));
        assert_eq!(match_members(&same, "b", &existing).await, Ok(5));
        let resolved = flags(&[("a", "http://localhost:2"), ("b", "http://127.0.0.1:1")]);
        assert_eq!(match_members(&resolved, "a", &existing).await, Ok(6));
        let fewer = flags(&[("a", "http://127.0.0.1:2")]);
        let unequal = Err("member count is unequal".to_owned());
        assert_eq!(match_members(&fewer, "a", &existing).await, unequal);
        let other = flags(&[("a", "http://127.0.0.1:2"), ("b", "http://127.0.0.1:3")]);
        assert!(match_members(&other, "a", &existing).await.is_err());
    }

    #[test]
    fn a_cluster_is_described_as_etcd_does() {
        let existing = Existing { cluster_id: 0xc1, members: vec![member(5, "http://a:1")] };
        assert_eq!(
            existing.describe(),
            "{ClusterID:c1 Members:[&{ID:5 RaftAttributes:{PeerURLs:[http://a:1] IsLearner:false} \
             Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[]}"
        );
    }

    #[test]
    fn versions_are_compared_by_two_numbers() {
        assert_eq!(major_minor(&"3.7.0".into()), Some((3, 7)));
        assert_eq!(major_minor(&"not_decided".into()), None);
        assert_eq!(major_minor(&Value::Null), None);
    }
}
