//! The binary `porthole`.

fn main() {}
