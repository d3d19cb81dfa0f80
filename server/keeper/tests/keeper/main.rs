//! A real keeper in a root of its own, driven as the server drives it: containers, sessions, the
//! journal, and keepers and monitors that are killed in between. Needs root and busybox; skips
//! loudly without.

mod foreign;
mod life;
mod looking;
mod place;
mod plenty;
mod reading;
mod records;
mod refusals;
mod supervisor;
mod survival;
