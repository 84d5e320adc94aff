//! From a stream on which two servers differ to a short one on which they still do.
//!
//! First requests are left out, in pieces of half the stream, then a quarter, down to single ones;
//! then each request that is left is made simpler, field by field; and all over again until nothing
//! can be left out. What is asked of a candidate is only whether the servers differ on it.

use std::time::{Duration, Instant};

use prost_reflect::{DynamicMessage, FieldDescriptor, Value};

use super::request::Request;

/// How long to go on: what waits for an answer that does not come takes long to shrink.
const SHRINK_MAX: Duration = Duration::from_mins(2);

/// Who tells whether a stream shows a difference.
pub trait Judge {
    /// Why it cannot be told.
    type Error;

    /// Whether there is a difference on these requests.
    fn differ(
        &mut self,
        requests: &[Request],
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// Shrinks `requests`, on which there is a difference.
pub async fn shrink<J: Judge>(
    requests: Vec<Request>,
    judge: &mut J,
) -> Result<Vec<Request>, J::Error> {
    let mut shrinking = Shrinking { requests, judge, until: Instant::now() + SHRINK_MAX };
    loop {
        let before = shrinking.requests.clone();
        shrinking.leave_out().await?;
        shrinking.simplify().await?;
        if shrinking.requests == before || Instant::now() > shrinking.until {
            return Ok(shrinking.requests);
        }
    }
}

struct Shrinking<'a, J> {
    requests: Vec<Request>,
    judge: &'a mut J,
    until: Instant,
}

impl<J: Judge> Shrinking<'_, J> {
    /// Takes the candidate over if the servers differ on it.
    async fn try_one(&mut self, candidate: Vec<Request>) -> Result<bool, J::Error> {
        if Instant::now() > self.until {
            return Ok(false);
        }
        let differs = self.judge.differ(&candidate).await?;
        if differs {
            self.requests = candidate;
        }
        Ok(differs)
    }

    async fn leave_out(&mut self) -> Result<(), J::Error> {
        let mut piece = self.requests.len().div_ceil(2);
        while piece > 0 {
            // From the end: what comes last is needed, what comes before often for nothing.
            let mut end = self.requests.len();
            while end > 0 {
                let start = end.saturating_sub(piece);
                let mut candidate = self.requests.clone();
                candidate.drain(start..end);
                if !candidate.is_empty() {
                    self.try_one(candidate).await?;
                }
                end = start;
            }
            piece /= 2;
        }
        Ok(())
    }

    async fn simplify(&mut self) -> Result<(), J::Error> {
        for index in (0..self.requests.len()).rev() {
            while self.simplify_one(index).await? {}
        }
        Ok(())
    }

    async fn simplify_one(&mut self, index: usize) -> Result<bool, J::Error> {
        let request = &self.requests[index];
        let simpler = simpler(&request.message).into_iter().map(|message| request.with(message));
        let candidates: Vec<Request> = request.parts().into_iter().chain(simpler).collect();
        for request in candidates {
            let mut candidate = self.requests.clone();
            candidate[index] = request;
            if self.try_one(candidate).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Fields that stay: a lease with less time to live would expire.
const KEPT: [&str; 1] = ["TTL"];

/// Messages that say a little less than this one, those that say the least first.
fn simpler(message: &DynamicMessage) -> Vec<DynamicMessage> {
    let fields: Vec<(FieldDescriptor, Value)> = message
        .fields()
        .filter(|(field, _)| !KEPT.contains(&field.name()))
        .map(|(field, value)| (field, value.clone()))
        .collect();
    let mut simpler = Vec::new();
    for (field, _) in &fields {
        let mut without = message.clone();
        without.clear_field(field);
        simpler.push(without);
    }
    for (field, value) in &fields {
        for value in simpler_values(value) {
            let mut with = message.clone();
            with.set_field(field, value);
            simpler.push(with);
        }
    }
    // A field of a oneof may be set to its default, which clearing it takes away for good.
    simpler.retain(|candidate| candidate != message);
    simpler
}

fn simpler_values(value: &Value) -> Vec<Value> {
    match value {
        Value::Message(inner) => simpler(inner).into_iter().map(Value::Message).collect(),
        Value::List(list) => {
            let shorter = (0..list.len()).map(|index| {
                let mut list = list.clone();
                list.remove(index);
                Value::List(list)
            });
            let halves = [list.len() / 2].into_iter().filter(|half| *half > 1).flat_map(|half| {
                [Value::List(list[half..].to_vec()), Value::List(list[..half].to_vec())]
            });
            let changed = list.iter().enumerate().flat_map(|(index, element)| {
                simpler_values(element).into_iter().map(move |element| {
                    let mut list = list.clone();
                    list[index] = element;
                    Value::List(list)
                })
            });
            halves.chain(shorter).chain(changed).collect()
        }
        Value::I64(number) if *number > 1 => vec![Value::I64(1), Value::I64(number - 1)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::request::tests::request;
    use super::*;

    fn texts(requests: &[Request]) -> Vec<String> {
        requests.iter().map(|request| format!("{} {}", request.rpc(), request.text())).collect()
    }

    struct Told<F>(F);

    impl<F: Fn(&[String]) -> bool> Judge for Told<F> {
        type Error = Infallible;

        fn differ(
            &mut self,
            requests: &[Request],
        ) -> impl Future<Output = Result<bool, Infallible>> + Send {
            std::future::ready(Ok((self.0)(&texts(requests))))
        }
    }

    async fn shrunk(requests: Vec<Request>, differ: impl Fn(&[String]) -> bool) -> Vec<String> {
        texts(&shrink(requests, &mut Told(differ)).await.unwrap())
    }

    #[tokio::test]
    async fn only_what_is_needed_stays() {
        let mut requests = Vec::new();
        for index in 0..50 {
            requests.push(request("Put", &format!("key: \"{index}\" lease: 7 prev_kv: true")));
        }
        let found = shrunk(requests, |texts| {
            let at = |key: &str| texts.iter().position(|text| text.contains(key));
            let leased = texts.iter().any(|text| text.contains("\"31\" lease: "));
            at("\"7\"").zip(at("\"31\"")).is_some_and(|(a, b)| a < b) && leased
        });
        assert_eq!(found.await, [r#"Put key: "7""#, r#"Put key: "31" lease: 1"#]);
    }

    #[tokio::test]
    async fn an_operation_is_taken_out_of_its_transaction() {
        let text = r#"compare { key: "x" version: 3 }
            success { request_range { key: "a" } }
            success { request_txn { failure { request_delete_range { key: "b" range_end: "c" } } } }"#;
        let is_delete = |texts: &[String]| texts.iter().any(|text| text.contains("range_end"));
        assert_eq!(
            shrunk(vec![request("Txn", text)], is_delete).await,
            [r#"DeleteRange range_end: "c""#]
        );
    }

    #[tokio::test]
    async fn a_list_is_cut_and_a_lease_keeps_its_time() {
        let many = "success { request_put { key: \"a\" } } ".repeat(129);
        let is_long = |texts: &[String]| texts[0].matches("success").count() > 100;
        let found = shrunk(vec![request("Txn", &many)], is_long).await;
        assert_eq!(found[0], format!("Txn {}", "success { } ".repeat(101).trim_end()));
        let grant = request("LeaseGrant", "TTL: 900 ID: 3");
        assert_eq!(shrunk(vec![grant], |_| true).await, ["LeaseGrant TTL: 900"]);
    }
}
