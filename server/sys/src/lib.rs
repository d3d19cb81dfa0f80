//! .
pub mod packet;
pub mod nsfs;
