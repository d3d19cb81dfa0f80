//! Containers and sessions of a real Porthole, compared with what the kernel says. As root.
//!
//! Each test has an instance of its own, and the harness fails it if anything of that is left.
#![forbid(unsafe_code)]

mod calls;
mod confinement;
mod dockerfile;
mod endings;
mod engines;
mod escape;
mod faults;
mod foreign;
mod host;
mod images;
mod inspections;
mod joining;
mod life;
mod lifecycle;
mod limits;
mod network;
mod package;
mod scale;
mod screens;
mod sessions;
mod survival;
