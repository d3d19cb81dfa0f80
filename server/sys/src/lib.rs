//! .
pub mod packet;
