//! A report in three forms: text for people, JSON for programs, JUnit for CI.

pub mod json;
pub mod junit;
pub mod records;
pub mod text;
