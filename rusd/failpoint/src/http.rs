//! gofail's protocol over HTTP/1.1: one request a connection, answered with all places at rest.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::registry::{Places, Refusal, places};

/// Longest head, and longest body.
const BYTES_MAX: u64 = 64 * 1024;
/// Longest wait for a request.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Status line and body.
type Answer = (&'static str, String);

const OK: &str = "200 OK";
const NO_CONTENT: &str = "204 No Content";
const BAD_REQUEST: &str = "400 Bad Request";
const NOT_FOUND: &str = "404 Not Found";
const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed";
const INTERNAL: &str = "500 Internal Server Error";

/// Serves on a thread of its own; an error says why not.
pub(crate) fn serve(address: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("listen tcp {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    let run = move || {
        for stream in listener.incoming().flatten() {
            // Whoever goes away before the answer does not want it.
            answer_one(&stream).ok();
        }
    };
    std::thread::Builder::new().name("failpoints".to_owned()).spawn(run).map_err(failed)?;
    Ok(())
}

fn answer_one(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_MAX))?;
    let (method, path, body) = request(stream)?;
    // Held until the answer is sent: a place that ends the process waits for it.
    let mut places = places();
    let (status, text) = answer(&mut places, &method, &path, &body);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        text.len()
    );
    stream.write_all((head + &text).as_bytes())?;
    stream.flush()
}

/// Method, path without its slash, and body.
fn request(stream: &TcpStream) -> io::Result<(String, String, String)> {
    let mut reader = BufReader::new(stream).take(BYTES_MAX);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0_usize;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = Vec::new();
    reader.take(u64::try_from(length).unwrap_or(BYTES_MAX)).read_to_end(&mut body)?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok((method, path.trim_start_matches('/').to_owned(), body))
}

fn answer(places: &mut Places, method: &str, path: &str, body: &str) -> Answer {
    match method {
        "PUT" => {
            let set = if path.eq_ignore_ascii_case("failpoints") {
                places.set_several(body)
            } else {
                places.set(path, body).map_err(|refusal| refusal.to_set())
            };
            set.map_or_else(|text| (BAD_REQUEST, text + "\n"), |()| (NO_CONTENT, String::new()))
        }
        "GET" if path.is_empty() => (OK, places.list()),
        "GET" => get(places, path),
        "DELETE" => match places.disable(path) {
            Ok(()) => (NO_CONTENT, String::new()),
            Err(refusal) => {
                (BAD_REQUEST, format!("failed to delete failpoint {}\n", refusal.text()))
            }
        },
        _ => (METHOD_NOT_ALLOWED, "Method not allowed\n".to_owned()),
    }
}

fn get(places: &Places, path: &str) -> Answer {
    let refused = |refusal: &Refusal| format!("failed to GET: {}\n", refusal.text());
    match path.strip_suffix("/count") {
        Some(name) => match places.terms(name) {
            Ok(terms) => (OK, terms.count.to_string()),
            Err(Refusal::Unknown) => (NOT_FOUND, refused(&Refusal::Unknown)),
            Err(refusal) => (INTERNAL, refused(&refusal)),
        },
        None => match places.terms(path) {
            Ok(terms) => (OK, format!("{}\n", terms.text)),
            // The empty line is gofail's.
            Err(refusal) => (NOT_FOUND, refused(&refusal) + "\n"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_gofails() {
        let mut places = Places::none_set();
        let mut ask = |method, path, body| answer(&mut places, method, path, body);
        let text = |text: &str| text.to_owned();
        let disabled = "failpoint: failpoint is disabled\n";
        for (method, path, body, expected) in [
            ("GET", "afterCommit", "", (NOT_FOUND, format!("failed to GET: {disabled}\n"))),
            ("GET", "afterCommit/count", "", (INTERNAL, format!("failed to GET: {disabled}"))),
            (
                "GET",
                "nothing/count",
                "",
                (NOT_FOUND, text("failed to GET: failpoint: failpoint does not exist\n")),
            ),
            (
                "PUT",
                "afterCommit",
                "wait",
                (BAD_REQUEST, text("fail to set failpoint: failpoint: could not parse terms\n")),
            ),
            ("PUT", "afterCommit", "sleep(1)", (NO_CONTENT, String::new())),
            ("GET", "afterCommit", "", (OK, text("sleep(1)\n"))),
            ("GET", "afterCommit/count", "", (OK, text("0"))),
            ("DELETE", "afterCommit", "", (NO_CONTENT, String::new())),
            (
                "DELETE",
                "afterCommit",
                "",
                (BAD_REQUEST, format!("failed to delete failpoint {disabled}")),
            ),
            ("PUT", "failpoints", "afterCommit=off;beforeCommit=panic", (NO_CONTENT, text(""))),
            ("GET", "beforeCommit", "", (OK, text("panic\n"))),
            ("POST", "", "", (METHOD_NOT_ALLOWED, text("Method not allowed\n"))),
        ] {
            assert_eq!(ask(method, path, body), expected, "{method} {path}");
        }
        let (_, list) = ask("GET", "", "");
        assert!(list.starts_with("afterCommit=off\napplyAfterOpenSnapshot=\n"), "{list}");
    }
}
