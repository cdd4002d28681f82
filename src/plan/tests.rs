//! What the planner decides, against specs as people write them and a cloud made of plain data.
//!
//! [`kit`] turns YAML into what is wanted, through the real parser and resolver; [`cloud`] is the cloud and carries
//! plans out; [`props`] says what holds of every plan; the rest pins decisions with their reasons.

pub(crate) mod cloud;
mod decisions;
mod kinds;
pub(crate) mod kit;
mod props;
mod random;
mod renewal;
mod scripts;
