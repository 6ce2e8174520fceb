//! The `stepwise` program.

fn main() {}
