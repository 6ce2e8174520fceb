//! The queue's protocol, in every order of what may happen, and the store beside it.
//!
//! `job` is a job's row with each statement of `stepwise::store` as a function, `system` what workers, requests and time may do to
//! two such rows, `checked` the promises that hold in all states that can be reached, and `conformance` walks through the same
//! states with real rows in PostgreSQL, so that the model is a model of what runs.

mod checked;
mod conformance;
mod job;
mod system;
