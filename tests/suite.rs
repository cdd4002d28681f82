//! The fast suite: the language, and what the commands do, through the binary on the embedded cloud.

mod acceptance;
#[path = "../src/dataset/tests/data.rs"]
mod data;
mod environment;
mod exchanges;
mod guests;
mod leaks;
mod site;

mod credentials;
mod datasets;
mod drift;
mod faults;
mod interruption;
mod keeping;
mod language;
mod leases;
mod lifecycle;
mod output;
mod purity;
mod recovery;
mod requests;
mod saved;
mod scale;
mod secrets;
mod sharing;
