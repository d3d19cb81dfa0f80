//! The HTTP API, asked from outside.
