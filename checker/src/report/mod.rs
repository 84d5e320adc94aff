//! A report in four forms: text for people, JSON for programs, JUnit for CI, graphs for Graphviz. And
//! what pages for a browser have in common.

pub mod graphviz;
pub mod json;
pub mod junit;
pub mod page;
pub mod records;
pub mod text;
