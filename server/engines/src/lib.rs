//! The engines broker: what Docker and Podman know of their containers, and the verbs they offer.
#![forbid(unsafe_code)]
