//! Plain HTTP beside gRPC: health, version, metrics.

use std::sync::Arc;

use ::http::header::{ALLOW, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;

use super::kv::wait_for_barrier;
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
        let is_known = matches!(path, "/health" | "/version" | "/metrics" | "/livez" | "/readyz");
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
            "/health" => self.health(has(query, "serializable=true")).await,
            "/version" => self.version(),
            "/metrics" => {
                let text = self.metrics.render(WatchCounts {
                    watchers: self.member.hub.watchers(),
                    times_lost: self.member.hub.times_lost(),
                });
                respond(StatusCode::OK, METRICS, text)
            }
            "/livez" => report(&[("serializable_read", Ok(()))], query, "livez"),
            _ => report(&self.readiness().await, query, "readyz"),
        }
    }

    async fn health(&self, is_serializable: bool) -> Response<Body> {
        let reason = match is_serializable {
            true => None,
            false if self.member.progress.leader() == 0 => Some("RAFT NO LEADER".to_owned()),
            false => {
                let read = wait_for_barrier(&self.member).await;
                read.err().map(|status| format!("RANGE ERROR:{}", status.message()))
            }
        };
        match reason {
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

    async fn readiness(&self) -> [Check; 4] {
        let read = wait_for_barrier(&self.member).await;
        let is_voter = !self.member.progress.is_learner();
        [
            ("data_corruption", Ok(())),
            ("linearizable_read", read.map_err(|status| status.message().to_owned())),
            ("non_learner", is_voter.then_some(()).ok_or("not supported for learner".to_owned())),
            ("serializable_read", Ok(())),
        ]
    }

    fn version(&self) -> Response<Body> {
        let cluster = self.member.view.cluster_version();
        let cluster = if cluster.is_empty() { version::STORAGE_VERSION } else { &cluster };
        let (etcd, rusd) = (version::ETCD_VERSION, version::RUSD_VERSION);
        let storage = version::STORAGE_VERSION;
        let text = format!(
            r#"{{"etcdserver":"{etcd}","etcdcluster":"{cluster}","storage":"{storage}","rusd":"{rusd}"}}"#
        );
        respond(StatusCode::OK, JSON, text)
    }
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
    fn a_query_is_looked_up_by_name_or_pair() {
        assert!(has("a=1&verbose", "verbose"));
        assert!(has("serializable=true", "serializable=true"));
        assert!(!has("serializable=false", "serializable=true"));
        assert!(!has("", "verbose"));
    }
}
