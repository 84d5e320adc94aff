//! `watch.json`: watches one after another, each with all its responses.
//!
//! Watches of a client overlap in time, but stand one behind the other. So the file is gone through
//! once to find where the responses of each begin, and then each watch is read from there on.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::super::error::{FormatError, Place};
use super::super::json::Json;
use super::model::{WatchRequest, WatchResponse};

/// Text of one response.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// A watch, and where its responses are.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) request: WatchRequest,
    /// Behind the bracket that opens the responses; `None` if there are none.
    pub(super) responses: Option<Place>,
    pub(super) first: Option<WatchResponse>,
}

/// Goes through a file. `see` is told every response, with the place and the request of its watch.
pub(super) fn survey(
    input: impl Read,
    see: &mut dyn FnMut(Place, &WatchRequest, &WatchResponse) -> Result<(), FormatError>,
) -> Result<Vec<Found>, FormatError> {
    let mut json = Json::at(input, Place::START, RESPONSE_BYTES_MAX);
    let mut watches = Vec::new();
    while json.peek()?.is_some() {
        watches.push(one(&mut json, see)?);
    }
    Ok(watches)
}

fn one<R: Read>(
    json: &mut Json<R>,
    see: &mut dyn FnMut(Place, &WatchRequest, &WatchResponse) -> Result<(), FormatError>,
) -> Result<Found, FormatError> {
    let began = json.place();
    json.expect(b'{')?;
    let mut request = None;
    let mut responses = None;
    let mut first = None;
    let mut is_first_field = true;
    while !json.takes(b'}')? {
        if !is_first_field {
            json.expect(b',')?;
        }
        is_first_field = false;
        let (place, name) = json.parse::<String>()?;
        json.expect(b':')?;
        match name.as_str() {
            "Request" => request = Some(json.parse::<WatchRequest>()?.1),
            "Responses" if json.peek()? == Some(b'[') => {
                let Some(request) = &request else {
                    return Err(FormatError::syntax(place, "Responses before their Request"));
                };
                json.expect(b'[')?;
                responses = Some(json.place());
                let mut items = Items::default();
                while let Some((place, response)) = items.next(json)? {
                    see(place, request, &response)?;
                    first.get_or_insert(response);
                }
            }
            _ => json.skip()?,
        }
    }
    let request = request.ok_or_else(|| FormatError::syntax(began, "a watch without Request"))?;
    Ok(Found { request, responses, first })
}

/// Where in an array of responses we are.
#[derive(Debug, Default)]
struct Items {
    is_begun: bool,
}

impl Items {
    /// The next response; `None` at the end of the array.
    fn next<R: Read>(
        &mut self,
        json: &mut Json<R>,
    ) -> Result<Option<(Place, WatchResponse)>, FormatError> {
        if json.takes(b']')? {
            return Ok(None);
        }
        if self.is_begun {
            json.expect(b',')?;
        }
        self.is_begun = true;
        json.parse().map(Some)
    }
}

/// The responses of one watch.
#[derive(Debug)]
pub(super) struct Responses {
    json: Json<BufReader<File>>,
    items: Items,
}

impl Responses {
    /// Opens a file at the place where the responses of a watch begin.
    pub(super) fn open(path: &Path, place: Place) -> Result<Responses, FormatError> {
        let open = |path: &Path| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(place.offset))?;
            Ok(BufReader::new(file))
        };
        let input = open(path)
            .map_err(|source| FormatError::Open { path: path.display().to_string(), source })?;
        let json = Json::at(input, place, RESPONSE_BYTES_MAX);
        Ok(Responses { json, items: Items::default() })
    }

    /// The next response; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(Place, WatchResponse)>, FormatError> {
        self.items.next(&mut self.json)
    }
}
