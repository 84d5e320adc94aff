//! `operations.json`: the operations of a client, one behind the other.

use std::collections::BTreeMap;
use std::io::Read;

use super::super::error::{FormatError, Place};
use super::super::json::Json;
use super::model::{Operation, Response};

/// Text of one operation.
const OPERATION_BYTES_MAX: usize = 64 << 20;

/// Reads operations and checks that each stream does one thing at a time.
#[derive(Debug)]
pub(super) struct Operations<R> {
    json: Json<R>,
    /// When the last operation of a stream returned, and where it is.
    returned: BTreeMap<u64, (u64, Place)>,
}

/// An operation, with what of it is checked.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) stream: u64,
    pub(super) call_ns: u64,
    pub(super) return_ns: u64,
    pub(super) operation: Box<Operation>,
}

impl<R: Read> Operations<R> {
    pub(super) fn new(input: R) -> Operations<R> {
        let json = Json::at(input, Place::START, OPERATION_BYTES_MAX);
        Operations { json, returned: BTreeMap::new() }
    }

    /// The next operation; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>, FormatError> {
        if self.json.peek()?.is_none() {
            return Ok(None);
        }
        let (place, operation) = self.json.parse::<Operation>()?;
        let natural = |name: &str, value: i64| {
            u64::try_from(value)
                .ok()
                .ok_or_else(|| FormatError::malformed(place, format!("{name} is negative")))
        };
        let stream = natural("ClientId", operation.client_id)?;
        let call_ns = natural("Call", operation.call)?;
        let return_ns = natural("Return", operation.returned)?;
        if return_ns < call_ns {
            let reason = format!("returned at {return_ns} ns, before its call at {call_ns} ns");
            return Err(FormatError::malformed(place, reason));
        }
        if let Some((returned, before)) = self.returned.insert(stream, (return_ns, place))
            && call_ns < returned
        {
            let reason = format!(
                "stream {stream} calls at {call_ns} ns, before its operation at {before} has \
                 returned"
            );
            return Err(FormatError::malformed(place, reason));
        }
        let operation = Box::new(operation);
        Ok(Some(Line { place, stream, call_ns, return_ns, operation }))
    }
}

impl Response {
    /// Whether the client saw an answer to its request.
    pub(super) fn is_answer(&self) -> bool {
        self.error.is_empty() && !self.persisted && self.client_error.is_empty()
    }
}
