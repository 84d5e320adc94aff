//! How a member is asked for anything but load: its status, its members, watches. (Load goes
//! through [`wire`](crate::wire), which costs less; what an error proves is the same for both.)
//!
//! Nothing here retries: an operation is sent once, over a connection that was there before, or
//! not at all. That is what makes [`failure`] able to say what an error proves.

pub mod convert;
pub mod etcd;
pub mod failure;
pub mod tls;

/// An error with its causes, which is where tonic says what went wrong.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
