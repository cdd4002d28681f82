//! Datasets: from a source to objects in a bucket that are there, whole and checked.

pub mod load;
