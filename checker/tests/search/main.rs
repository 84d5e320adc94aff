//! The search engines against stateright's tester and against trying everything, on random small
//! histories: all must say the same of each. A hundredth of the full number by default; all of it
//! with `SEARCH_HISTORIES=500000`, optimised.

mod agreement;
mod damage;
mod exhaustive;
mod metamorphic;
mod shapes;
mod stories;
mod subjects;

/// How many histories, of each engine.
fn histories() -> u64 {
    match std::env::var("SEARCH_HISTORIES") {
        Ok(text) => text.parse().expect("SEARCH_HISTORIES is a number"),
        Err(_) => 5_000,
    }
}
