//! Who is in the cluster, and under which ids: derived from the flags exactly as etcd derives them.
//!
//! A member's id is made of its peer URLs and the cluster's token, the cluster's id of its members'
//! ids (etcd's `membership` package), so that the same flags give the same ids on either server.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusd_state::members::MemberContext;
use sha1::{Digest as _, Sha1};

/// The members that a new cluster starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialCluster {
    /// By member id.
    members: BTreeMap<u64, InitialMember>,
}

/// A member that a new cluster starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    /// Its `--name`.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

impl InitialCluster {
    /// From pairs of name and peer URL (a name may stand more than once) and the cluster's token.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>, token: &str) -> Self {
        let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, url) in pairs {
            by_name.entry(name).or_default().push(url);
        }
        let members = by_name.into_iter().map(|(name, mut peer_urls)| {
            peer_urls.sort();
            (member_id(&peer_urls, token), InitialMember { name, peer_urls })
        });
        InitialCluster { members: members.collect() }
    }

    /// The members, ascending by id.
    pub fn members(&self) -> impl Iterator<Item = (u64, &InitialMember)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Id of the member with this name.
    pub fn id_of(&self, name: &str) -> Option<u64> {
        self.members().find(|(_, member)| member.name == name).map(|(id, _)| id)
    }

    /// The peer URLs of all members but the one with this name, sorted.
    pub fn urls_without(&self, name: &str) -> Vec<String> {
        let others = self.members.values().filter(|member| member.name != name);
        let mut urls: Vec<_> = others.flat_map(|member| member.peer_urls.clone()).collect();
        urls.sort();
        urls
    }

    /// Id of the cluster.
    pub fn cluster_id(&self) -> u64 {
        let ids: Vec<u8> = self.members.keys().flat_map(|id| id.to_be_bytes()).collect();
        hash_id(&ids)
    }

    /// What the bootstrap entry of each member carries: etcd's JSON of the member.
    pub fn contexts(&self) -> Vec<(u64, Bytes)> {
        let context = |(id, member): (u64, &InitialMember)| {
            let InitialMember { name, peer_urls } = member.clone();
            (id, MemberContext { id, peer_urls, name, ..MemberContext::default() }.to_json())
        };
        self.members().map(context).collect()
    }
}

/// The id of a member with these peer URLs: in a new cluster with this token, or, of a member that is
/// added later, with the time in seconds instead.
pub(crate) fn member_id(sorted_peer_urls: &[String], token: &str) -> u64 {
    let mut bytes = sorted_peer_urls.concat().into_bytes();
    bytes.extend_from_slice(token.as_bytes());
    hash_id(&bytes)
}

fn hash_id(bytes: &[u8]) -> u64 {
    let hash = Sha1::digest(bytes);
    u64::from_be_bytes(hash[..8].try_into().expect("a SHA-1 has 20 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(pairs: &[(&str, &str)], token: &str) -> InitialCluster {
        let pairs = pairs.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned()));
        InitialCluster::new(pairs, token)
    }

    /// Ids that etcd 3.7.3 shows for the default flags: `etcdctl member list`.
    #[test]
    fn default_flags_give_etcds_ids() {
        let cluster = cluster(&[("default", "http://localhost:2380")], "etcd-cluster");
        assert_eq!(cluster.id_of("default"), Some(0x8e9e_05c5_2164_694d));
        assert_eq!(cluster.cluster_id(), 0xcdf8_1819_4e3a_8c32);
    }

    #[test]
    fn contexts_are_etcds_json() {
        let cluster = cluster(&[("a", "http://x:2"), ("a", "http://x:1")], "t");
        let (id, json) = cluster.contexts().remove(0);
        let expected =
            format!(r#"{{"id":{id},"peerURLs":["http://x:1","http://x:2"],"name":"a"}}"#);
        assert_eq!(json, expected.as_bytes());
    }
}
