//! Every request that anole can make is in a scenario.
