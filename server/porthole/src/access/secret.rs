//! Secrets: random, shown once, kept only as hashes.

use sha2::{Digest, Sha256};

use super::identity::SecretHash;

/// 256 random bits as 64 hexadecimal digits.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Panics
    ///
    /// Where the kernel gives no random numbers; it always does on Linux 6.1.
    pub fn new() -> Self {
        Self(hex(&random::<32>()))
    }

    /// What its holder gets to see.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

/// What is kept of the secret that somebody sent. A secret of 256 random bits needs no salt, and
/// looking its hash up needs no comparison in constant time.
pub fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Random bytes.
///
/// # Panics
///
/// Where the kernel gives none.
#[expect(
    clippy::expect_used,
    reason = "without random numbers nothing here is safe"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives random numbers");
    bytes
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
