//! Containers, compared with what the kernel says.
