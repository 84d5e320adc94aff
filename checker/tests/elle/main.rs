//! Elle's anomalies: small histories of each, and the check against simulated stores and against
//! trying every order.

mod brute_force;
mod list_append;
mod notation;
mod published;
mod registers;
mod simulated;
mod stores;
