//! What is refused before it goes any further: etcd's checks, in etcd's order.

use std::collections::BTreeSet;

use bytes::Bytes;
use rusd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use rusd_proto::etcdserverpb::request_op::Request;
use rusd_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::status::Rejection;
use crate::watch::range_index::{RangeEnd, RangeIndex};

/// Checks a range.
pub(super) fn range(request: &RangeRequest) -> Result<(), Rejection> {
    if request.key.is_empty() {
        return Err(Rejection::EmptyKey);
    }
    let is_known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if is_known { Ok(()) } else { Err(Rejection::InvalidSortOption) }
}

/// Checks a put.
pub(super) fn put(request: &PutRequest) -> Result<(), Rejection> {
    if request.key.is_empty() {
        Err(Rejection::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(Rejection::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(Rejection::LeaseProvided)
    } else {
        Ok(())
    }
}

/// Checks a delete.
pub(super) fn delete_range(request: &DeleteRangeRequest) -> Result<(), Rejection> {
    if request.key.is_empty() { Err(Rejection::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction with at most `ops_max` operations a list, nested ones together.
pub(super) fn txn(request: &TxnRequest, ops_max: usize) -> Result<(), Rejection> {
    operations(request, ops_max)?;
    // After the count, since what follows takes longer.
    written(&request.success)?;
    written(&request.failure)?;
    Ok(())
}

fn operations(request: &TxnRequest, ops_max: usize) -> Result<(), Rejection> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(ops_left) = ops_max.checked_sub(longest) else {
        return Err(Rejection::TooManyOps);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Rejection::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(nested)) => operations(nested, ops_left)?,
            // etcd's answer to an operation that is none.
            None => return Err(Rejection::KeyNotFound),
        }
    }
    Ok(())
}

/// What a list of operations writes.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a DeleteRangeRequest>,
    deleted: RangeIndex<()>,
}

impl<'a> Written<'a> {
    fn delete(&mut self, request: &'a DeleteRangeRequest) {
        let end = if request.range_end.is_empty() {
            [&request.key[..], &[0]].concat().into()
        } else {
            request.range_end.clone()
        };
        // An end of one zero byte ("all keys from here on") covers nothing here, as in etcd.
        self.deleted.insert(request.key.clone(), RangeEnd::Before(end), ());
        self.deletes.push(request);
    }

    fn put(&mut self, key: &'a Bytes, may_repeat: bool) -> Result<(), Rejection> {
        let is_new = self.puts.insert(key);
        if (!is_new && !may_repeat) || self.deleted.covers(key) {
            return Err(Rejection::DuplicateKey);
        }
        Ok(())
    }
}

/// Refuses a key that is put twice, or put and deleted. Of a nested transaction, only one of the
/// branches will be done, so both may put the same key.
fn written(ops: &[RequestOp]) -> Result<Written<'_>, Rejection> {
    let mut all = Written::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(request)) = &op.request {
            all.delete(request);
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            let success = written(&nested.success)?;
            let failure = written(&nested.failure)?;
            for key in &success.puts {
                all.put(key, false)?;
            }
            for key in &failure.puts {
                all.put(key, success.puts.contains(key))?;
            }
            success.deletes.iter().chain(&failure.deletes).for_each(|request| all.delete(request));
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(request)) = &op.request {
            all.put(&request.key, false)?;
        }
    }
    Ok(all)
}

/// The peer URLs of a member that shall be added, sorted, if they are URLs as etcd takes them.
pub(super) fn member_urls(urls: &[String]) -> Option<Vec<String>> {
    let mut urls = urls.iter().map(|url| member_url(url.trim())).collect::<Option<Vec<_>>>()?;
    urls.sort();
    (!urls.is_empty()).then_some(urls)
}

fn member_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let is_network = match scheme.as_str() {
        "http" | "https" => true,
        "unix" | "unixs" => false,
        _ => return None,
    };
    if is_network {
        let rest = rest.strip_prefix("//")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if path.starts_with('/') || !is_host_and_port(host) {
            return None;
        }
    }
    Some(format!("{scheme}:{rest}"))
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let has_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = match bracketed {
        Some(host) => !host.contains(['[', ']']),
        None => !host.contains(['[', ']', ':']),
    };
    has_port && is_host && !host.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use rusd_proto::etcdserverpb::Compare;

    use super::*;

    /// `p:key`, `d:key`, `d:from-to`, `g:key`, `[a b | c]`.
    fn ops(text: &str) -> Vec<RequestOp> {
        let mut words = text.split_whitespace();
        list(&mut words)
    }

    fn list<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<RequestOp> {
        let mut ops = Vec::new();
        while let Some(word) = words.next().filter(|word| !["|", "]"].contains(word)) {
            let key = |at: usize| Bytes::from(word[at..].to_owned());
            let request = match &word[..1] {
                "p" => Request::RequestPut(PutRequest { key: key(2), ..PutRequest::default() }),
                "g" => {
                    Request::RequestRange(RangeRequest { key: key(2), ..RangeRequest::default() })
                }
                "d" => {
                    let (from, to) = word[2..].split_once('-').unwrap_or((&word[2..], ""));
                    let (key, range_end) = (from.to_owned().into(), to.to_owned().into());
                    let delete =
                        DeleteRangeRequest { key, range_end, ..DeleteRangeRequest::default() };
                    Request::RequestDeleteRange(delete)
                }
                "[" => {
                    let (success, failure) = (list(words), list(words));
                    Request::RequestTxn(TxnRequest { success, failure, ..TxnRequest::default() })
                }
                other => panic!("no such operation: {other}"),
            };
            ops.push(RequestOp { request: Some(request) });
        }
        ops
    }

    #[test]
    fn a_key_is_written_once_in_a_transaction() {
        for (text, expected) in [
            ("p:a p:b g:a", Ok(())),
            ("p:a p:a", Err(Rejection::DuplicateKey)),
            ("d:a d:a", Ok(())),
            ("d:a p:a", Err(Rejection::DuplicateKey)),
            ("p:b d:a-c", Err(Rejection::DuplicateKey)),
            ("p:c d:a-c", Ok(())),
            ("p:b d:a-\0", Ok(())),
            ("[ p:a | p:a ]", Ok(())),
            ("[ p:a p:a | ]", Err(Rejection::DuplicateKey)),
            ("[ p:a | p:b ] p:b", Err(Rejection::DuplicateKey)),
            ("[ p:a | ] [ | p:a ]", Err(Rejection::DuplicateKey)),
            ("[ d:a | p:a ]", Ok(())),
            ("[ d:a | ] p:a", Err(Rejection::DuplicateKey)),
            ("[ d:a | ] [ p:a | ]", Err(Rejection::DuplicateKey)),
            ("d:a [ p:a | ]", Err(Rejection::DuplicateKey)),
            ("[ [ p:a | ] | ] p:a", Err(Rejection::DuplicateKey)),
            ("p:", Err(Rejection::EmptyKey)),
            ("d:", Err(Rejection::EmptyKey)),
            ("[ g: | ]", Err(Rejection::EmptyKey)),
        ] {
            let as_success = TxnRequest { success: ops(text), ..TxnRequest::default() };
            assert_eq!(txn(&as_success, 128), expected, "{text}");
            let as_failure = TxnRequest { failure: ops(text), ..TxnRequest::default() };
            assert_eq!(txn(&as_failure, 128), expected, "{text}");
        }
    }

    #[test]
    fn operations_are_counted_along_the_nesting() {
        let request = |text| TxnRequest { success: ops(text), ..TxnRequest::default() };
        assert_eq!(txn(&request("p:a p:b"), 2), Ok(()));
        assert_eq!(txn(&request("p:a p:b p:c"), 2), Err(Rejection::TooManyOps));
        assert_eq!(txn(&request("[ p:a | p:b ]"), 2), Ok(()));
        assert_eq!(txn(&request("[ p:a p:b | ]"), 2), Err(Rejection::TooManyOps));
        let compare = vec![Compare::default()];
        let no_key = TxnRequest { compare, ..TxnRequest::default() };
        assert_eq!(txn(&no_key, 128), Err(Rejection::EmptyKey));
        let success = vec![RequestOp { request: None }];
        let no_op = TxnRequest { success, ..TxnRequest::default() };
        assert_eq!(txn(&no_op, 128), Err(Rejection::KeyNotFound));
    }

    #[test]
    fn puts_and_ranges() {
        let base = PutRequest { key: "k".into(), ..PutRequest::default() };
        assert_eq!(put(&base), Ok(()));
        assert_eq!(put(&PutRequest::default()), Err(Rejection::EmptyKey));
        let ignoring = PutRequest { ignore_value: true, ignore_lease: true, ..base };
        assert_eq!(put(&ignoring), Ok(()));
        let with_value = PutRequest { value: "v".into(), lease: 1, ..ignoring.clone() };
        assert_eq!(put(&with_value), Err(Rejection::ValueProvided));
        assert_eq!(put(&PutRequest { lease: 1, ..ignoring }), Err(Rejection::LeaseProvided));
        let all = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        assert_eq!(range(&all), Ok(()));
        assert_eq!(range(&RangeRequest::default()), Err(Rejection::EmptyKey));
        let sorted = RangeRequest { sort_target: 5, ..all.clone() };
        assert_eq!(range(&sorted), Err(Rejection::InvalidSortOption));
        assert_eq!(
            range(&RangeRequest { sort_order: 3, ..all }),
            Err(Rejection::InvalidSortOption)
        );
    }
}
