//! Names causes.
