//! The connection to the keeper.

/// What the keeper is asked through.
#[derive(Clone, Default)]
pub struct Keeper {}
