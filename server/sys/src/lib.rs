//! .
pub mod packet;
pub mod nsfs;
pub mod child;
