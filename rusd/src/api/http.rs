//! Plain HTTP beside gRPC: health, version, metrics.

use std::sync::Arc;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::Status;
use tonic::body::Body;

use rusd_proto::etcdserverpb::AlarmType;

use super::status;
use crate::member::Member;
use crate::metrics::{Metrics, WatchCounts};
use crate::version;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers what is not gRPC.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) member: Member,
    pub(super) metrics: Arc<Metrics>,
}

/// A check and why it failed.
type Check = (&'static str, Result<(), String>);

impl Plain {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let checks = Checks::of_path(path);
        let is_known = matches!(path, "/health" | "/version" | "/metrics") || checks.is_some();
        if !is_known {
            return respond(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned());
        }
        if request.method() != Method::GET {
            let text = "Method Not Allowed\n".to_owned();
            let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        match path {
            "/health" => self.health(query).await,
            "/version" => respond(StatusCode::OK, JSON, version_text(&self.member)),
            _ if let Some(checks) = checks => self.report(&checks, query).await,
            _ => {
                let text = self.metrics.render(WatchCounts {
                    watchers: self.member.hub.watchers(),
                    times_lost: self.member.hub.times_lost(),
                });
                respond(StatusCode::OK, METRICS, text)
            }
        }
    }

    async fn health(&self, query: &str) -> Response<Body> {
        match self.illness(query).await {
            None => {
                let text = r#"{"health":"true","reason":""}"#.to_owned();
                respond(StatusCode::OK, TEXT, text)
            }
            Some(reason) => {
                tracing::warn!(reason, "serving /health false");
                let reason = serde_json::Value::from(reason);
                let text = format!("{{\"health\":\"false\",\"reason\":{reason}}}\n");
                respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
            }
        }
    }

    /// Why this member is not healthy, if it is not: an alarm, no leader, or no reads.
    async fn illness(&self, query: &str) -> Option<String> {
        if let Some(alarm) = self.alarms().find(|alarm| !excludes(query, &alarm_name(*alarm))) {
            let name = match AlarmType::try_from(alarm) {
                Ok(AlarmType::Nospace | AlarmType::Corrupt) => alarm_name(alarm),
                Ok(AlarmType::None) | Err(_) => "UNKNOWN".to_owned(),
            };
            return Some(format!("ALARM {name}"));
        }
        if has(query, "serializable=true") {
            return None;
        }
        if self.member.progress.leader() == 0 {
            return Some("RAFT NO LEADER".to_owned());
        }
        self.linearizable_read()
            .await
            .err()
            .map(|status| format!("RANGE ERROR:{}", status.message()))
    }

    /// Of a learner too, which asks the leader as a follower does: only its gRPC API refuses, and a
    /// learner is healthy in etcd.
    async fn linearizable_read(&self) -> Result<(), Status> {
        self.member.read_barrier.wait().await.map_err(status::of)
    }

    /// The kinds of the raised alarms.
    fn alarms(&self) -> impl Iterator<Item = i32> {
        self.member.view.alarms().into_iter().map(|raised| raised.alarm)
    }

    async fn report(&self, checks: &Checks<'_>, query: &str) -> Response<Body> {
        let mut done = Vec::new();
        for name in checks.wanted(query) {
            done.push((name, self.check(name).await));
        }
        report(&done, query, checks.of)
    }

    async fn check(&self, name: &str) -> Result<(), String> {
        match name {
            "data_corruption"
                if self.alarms().any(|alarm| alarm == i32::from(AlarmType::Corrupt)) =>
            {
                Err("alarm activated: CORRUPT".to_owned())
            }
            "linearizable_read" => {
                self.linearizable_read().await.map_err(|status| status.message().to_owned())
            }
            "non_learner" if self.member.progress.is_learner() => {
                Err("not supported for learner".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The versions of this member and its cluster, as JSON.
pub(super) fn version_text(member: &Member) -> String {
    let cluster = member.view.cluster_version();
    // As etcd shows a version that the leader has not decided yet.
    let cluster = if cluster.is_empty() { "not_decided" } else { &cluster };
    let (etcd, rusd) = (version::ETCD_VERSION, version::RUSD_VERSION);
    let storage = version::STORAGE_VERSION;
    format!(
        r#"{{"etcdserver":"{etcd}","etcdcluster":"{cluster}","storage":"{storage}","rusd":"{rusd}"}}"#
    )
}

/// The checks that a path asks for.
#[derive(Debug, PartialEq, Eq)]
struct Checks<'a> {
    /// What they are about.
    of: &'a str,
    names: Vec<&'static str>,
    /// One was asked for by its name: it cannot be left out.
    is_named: bool,
}

impl<'a> Checks<'a> {
    /// All checks of `/livez` or `/readyz`, or the one below it that is named.
    fn of_path(path: &'a str) -> Option<Self> {
        let (of, name) = path.strip_prefix('/')?.split_once('/').unwrap_or((&path[1..], ""));
        let all: &[&'static str] = match of {
            "livez" => &["serializable_read"],
            "readyz" => {
                &["data_corruption", "linearizable_read", "non_learner", "serializable_read"]
            }
            _ => return None,
        };
        let is_wanted = |known: &&&str| name.is_empty() || **known == name;
        let names: Vec<&str> = all.iter().filter(is_wanted).copied().collect();
        (!names.is_empty()).then_some(Checks { of, names, is_named: !name.is_empty() })
    }

    fn wanted(&self, query: &str) -> impl Iterator<Item = &'static str> {
        let is_kept = move |name: &&str| self.is_named || !excludes(query, name);
        self.names.iter().copied().filter(is_kept)
    }
}

fn alarm_name(alarm: i32) -> String {
    AlarmType::try_from(alarm).map_or(alarm.to_string(), |kind| kind.as_str_name().to_owned())
}

fn excludes(query: &str, name: &str) -> bool {
    query.split('&').any(|part| part.strip_prefix("exclude=") == Some(name))
}

fn has(query: &str, wanted: &str) -> bool {
    query.split('&').any(|part| part == wanted || part.split('=').next() == Some(wanted))
}

fn report(checks: &[Check], query: &str, name: &str) -> Response<Body> {
    use std::fmt::Write as _;

    let mut lines = String::new();
    for (check, outcome) in checks {
        let written = match outcome {
            Ok(()) => writeln!(lines, "[+]{check} ok"),
            Err(why) => writeln!(lines, "[-]{check} failed: {why}"),
        };
        written.expect("a string takes everything");
    }
    if checks.iter().any(|(_, outcome)| outcome.is_err()) {
        tracing::error!(checks = name, reason = lines, "health check error");
        let text = format!("{lines}\n");
        return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text);
    }
    let text = if has(query, "verbose") { format!("{lines}ok\n") } else { "ok\n".to_owned() };
    respond(StatusCode::OK, TEXT, text)
}

fn respond(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_fails_the_whole() {
        let checks: [Check; 2] = [("read", Ok(())), ("write", Err("no leader".to_owned()))];
        assert_eq!(report(&checks[..1], "", "livez").status(), StatusCode::OK);
        assert_eq!(report(&checks, "", "livez").status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_path_names_checks_and_a_query_leaves_some_out() {
        let wanted = |path, query| -> Option<Vec<&str>> {
            Checks::of_path(path).map(|checks| checks.wanted(query).collect())
        };
        assert_eq!(wanted("/livez", ""), Some(vec!["serializable_read"]));
        let three = vec!["linearizable_read", "non_learner", "serializable_read"];
        assert_eq!(wanted("/readyz", "verbose&exclude=data_corruption"), Some(three));
        assert_eq!(wanted("/livez", "exclude=serializable_read"), Some(Vec::new()));
        let one = Some(vec!["data_corruption"]);
        assert_eq!(wanted("/readyz/data_corruption", "exclude=data_corruption"), one);
        assert_eq!(wanted("/livez/data_corruption", ""), None);
        assert_eq!(wanted("/health", ""), None);
    }

    #[test]
    fn a_query_is_looked_up_by_name_or_pair() {
        assert!(has("a=1&verbose", "verbose"));
        assert!(has("serializable=true", "serializable=true"));
        assert!(!has("serializable=false", "serializable=true"));
        assert!(!has("", "verbose"));
    }
}
