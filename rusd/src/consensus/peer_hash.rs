//! What members ask each other about the hashes of their histories, to find out whether one of them
//! has another one. Path, JSON and words are etcd's.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use rusd_state::{HashKv, View};
use serde::{Deserialize, Serialize};

use super::peer_http::{Answer, CLUSTER_ID, PeerAsker};

/// Where the hash up to a revision is asked for.
pub const HASH_KV: &str = "/members/hashkv";
/// etcd's words for a revision that was compacted.
pub const COMPACTED: &str = "mvcc: required revision has been compacted";
/// etcd's words for a revision that is yet to come.
pub const FUTURE_REVISION: &str = "mvcc: required revision is a future revision";
/// etcd's words for a question that is for another cluster.
pub const OTHER_CLUSTER: &str = "cluster ID mismatch";

/// The question, in etcd's JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Question {
    #[serde(default, skip_serializing_if = "is_zero")]
    revision: i64,
}

/// The answer, in etcd's JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct HashAnswer {
    #[serde(default)]
    header: Header,
    #[serde(default, skip_serializing_if = "is_zero")]
    hash: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    compact_revision: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    hash_revision: i64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Header {
    #[serde(default, skip_serializing_if = "is_zero")]
    revision: i64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Reads the revision that is asked for.
pub fn read_question(json: &[u8]) -> Result<i64, serde_json::Error> {
    serde_json::from_slice(json).map(|Question { revision }| revision)
}

/// The JSON of a hash.
pub fn answer_json(found: HashKv) -> String {
    let answer = HashAnswer {
        header: Header { revision: found.current_revision },
        hash: found.hash,
        compact_revision: found.compact_revision,
        hash_revision: found.revision,
    };
    serde_json::to_string(&answer).expect("numbers are JSON")
}

fn read_answer(json: &[u8]) -> Result<HashKv, serde_json::Error> {
    let answer: HashAnswer = serde_json::from_slice(json)?;
    Ok(HashKv {
        hash: answer.hash,
        compact_revision: answer.compact_revision,
        revision: answer.hash_revision,
        current_revision: answer.header.revision,
    })
}

/// What a peer says of its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHash {
    /// The peer.
    pub member_id: u64,
    /// The hash up to the revision, or why there is none.
    pub answer: Result<HashKv, NoHash>,
}

/// Why a peer tells no hash. Nothing of it says that a history is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoHash {
    /// It has compacted the revision.
    #[error("{COMPACTED}")]
    Compacted,
    /// It has not come to the revision.
    #[error("{FUTURE_REVISION}")]
    FutureRevision,
    /// It is of another cluster.
    #[error("{OTHER_CLUSTER}")]
    OtherCluster,
    /// It did not answer, or nothing that is known.
    #[error("{0}")]
    Failed(String),
}

/// Asks all other members. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerHashes {
    /// Reaches them.
    pub asker: PeerAsker,
    /// Tells who they are.
    pub view: View,
    /// Their cluster.
    pub cluster_id: u64,
    /// This member, which is not asked.
    pub member_id: u64,
    /// How long one may take.
    pub answer_timeout: Duration,
}

impl PeerHashes {
    /// The hashes of all others up to a revision, in the order of their ids.
    pub async fn up_to(&self, revision: i64) -> Vec<PeerHash> {
        let mut hashes = Vec::new();
        for peer in self.view.members() {
            if peer.id == self.member_id || peer.peer_ur_ls.is_empty() {
                continue;
            }
            let answer = self.ask_at_any(&peer.peer_ur_ls, revision).await;
            if let Err(reason) = &answer {
                let peer = format!("{:x}", peer.id);
                tracing::warn!(revision, peer, %reason, "failed hash kv request");
            }
            hashes.push(PeerHash { member_id: peer.id, answer });
        }
        hashes
    }

    /// The answer at the first URL that gives one.
    async fn ask_at_any(&self, urls: &[String], revision: i64) -> Result<HashKv, NoHash> {
        let mut last = NoHash::Failed("it has no URL".to_owned());
        for url in urls {
            match self.ask(url, revision).await {
                Ok(hash) => return Ok(hash),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    async fn ask(&self, url: &str, revision: i64) -> Result<HashKv, NoHash> {
        let json = serde_json::to_vec(&Question { revision }).expect("a number is JSON");
        let mut question = Request::new(Bytes::from(json));
        *question.method_mut() = Method::GET;
        *question.uri_mut() = HASH_KV.parse().expect("it is a path");
        let cluster = HeaderValue::from_str(&format!("{:x}", self.cluster_id));
        let headers = question.headers_mut();
        headers.insert(CLUSTER_ID, cluster.expect("digits are ASCII"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.asker.ask(url, question, self.answer_timeout).await;
        understand(&answer.map_err(|error| NoHash::Failed(error.to_string()))?)
    }
}

fn understand(answer: &Answer) -> Result<HashKv, NoHash> {
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status {
        StatusCode::OK => {
            read_answer(&answer.body).map_err(|error| NoHash::Failed(error.to_string()))
        }
        StatusCode::BAD_REQUEST if text.contains(COMPACTED) => Err(NoHash::Compacted),
        StatusCode::BAD_REQUEST if text.contains(FUTURE_REVISION) => Err(NoHash::FutureRevision),
        StatusCode::PRECONDITION_FAILED if text.contains(OTHER_CLUSTER) => {
            Err(NoHash::OtherCluster)
        }
        status => Err(NoHash::Failed(format!("{status}: {}", text.trim()))),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// As etcd 3.7.3 answers.
    const ANSWER: &str =
        r#"{"header":{"revision":4},"hash":3870129361,"compact_revision":-1,"hash_revision":4}"#;

    fn answer(status: StatusCode, body: &'static str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn hashes_are_told_as_etcd_tells_them() {
        let hash = understand(&answer(StatusCode::OK, ANSWER)).unwrap();
        let HashKv { hash: number, compact_revision, revision, current_revision } = hash;
        assert_eq!((number, compact_revision), (3_870_129_361, -1));
        assert_eq!((revision, current_revision), (4, 4));
        assert_eq!(answer_json(hash), ANSWER);
    }

    #[test]
    fn a_revision_may_be_left_out() {
        assert_eq!(read_question(b"{}").unwrap(), 0);
        assert_eq!(read_question(br#"{"revision":7}"#).unwrap(), 7);
        assert!(read_question(b"").is_err());
    }

    #[test]
    fn why_there_is_no_hash_is_understood() {
        let compacted = "mvcc: required revision has been compacted\n";
        let future = "mvcc: required revision is a future revision\n";
        let other = "cluster ID mismatch\n";
        let (bad, failed) = (StatusCode::BAD_REQUEST, StatusCode::PRECONDITION_FAILED);
        assert_eq!(understand(&answer(bad, compacted)), Err(NoHash::Compacted));
        assert_eq!(understand(&answer(bad, future)), Err(NoHash::FutureRevision));
        assert_eq!(understand(&answer(failed, other)), Err(NoHash::OtherCluster));
        for unknown in [answer(bad, "bad path\n"), answer(StatusCode::OK, "no JSON")] {
            assert!(matches!(understand(&unknown), Err(NoHash::Failed(_))));
        }
    }
}
