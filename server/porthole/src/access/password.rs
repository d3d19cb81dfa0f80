//! Passwords: argon2id, off the threads that serve, a bounded number at a time.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::secret::random;
use crate::Refusal;

/// The fewest characters.
pub const SHORTEST: usize = 8;
/// The most bytes.
pub const LONGEST: usize = 1024;

/// Without letters and digits that look alike; 31 of them.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// How many are worked on at once: each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;
/// How many may wait for that. More are told to come again.
const WAITING: usize = 64;

/// What hashes and checks.
#[derive(Clone)]
pub struct Passwords {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            working: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }
}

/// Checked for where there is no such account, so that this costs the same.
static NOBODYS: LazyLock<String> =
    LazyLock::new(|| hash_now(super::secret::Secret::new().reveal()).unwrap_or_default());

/// The PHC string of a password.
pub fn hash_now(password: &str) -> Result<String, argon2::password_hash::Error> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

fn verify_now(password: &str, kept: &str) -> bool {
    PasswordHash::new(kept).is_ok_and(|kept| {
        Argon2::default()
            .verify_password(password.as_bytes(), &kept)
            .is_ok()
    })
}

/// Refuses what is no good as a new password.
pub fn check_new(password: &str) -> Result<(), Refusal> {
    if password.chars().count() < SHORTEST {
        Err(Refusal::unusable(
            "password",
            "A password has at least 8 characters.",
        ))
    } else if password.len() > LONGEST {
        Err(Refusal::unusable(
            "password",
            "A password has at most 1024 bytes.",
        ))
    } else {
        Ok(())
    }
}

/// A new password, made up: twenty letters in groups of five, 99 bits, readable over the phone.
pub fn make_up() -> String {
    let mut password = String::new();
    while password.len() < 23 {
        let [byte] = random::<1>();
        // 248 = 8 · 31: above it, some letters would come more often.
        if byte < 248 {
            if password.len() % 6 == 5 {
                password.push('-');
            }
            password.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        }
    }
    password
}

impl Passwords {
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _waiting = self.waiting.try_acquire().map_err(|_| {
            Refusal::too_many("Too many people sign in at this moment. Try again.", 2)
        })?;
        let working = self.working.clone().acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _working = working;
            work()
        })
        .await
        .map_err(|error| {
            tracing::error!(%error, "a password was not worked on");
            Refusal::internal()
        })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Refusal> {
        check_new(&password)?;
        self.work(move || hash_now(&password))
            .await?
            .map_err(|error| {
                tracing::error!(%error, "argon2");
                Refusal::internal()
            })
    }

    /// Whether this is the password that was kept; `None`: nobody's, at the same cost.
    pub async fn verify(&self, password: String, kept: Option<String>) -> Result<bool, Refusal> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        self.work(move || match kept {
            Some(kept) => verify_now(&password, &kept),
            None => {
                verify_now(&password, &NOBODYS);
                false
            }
        })
        .await
    }

    /// Makes the first failed sign-in cost the same as every other.
    pub fn warm_up(&self) {
        tokio::task::spawn_blocking(|| NOBODYS.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::default();
        let kept = passwords
            .hash("correct horse".into())
            .await
            .expect("hashed");
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        for (password, right) in [
            ("correct horse", true),
            ("correct horsf", false),
            ("", false),
        ] {
            let verified = passwords.verify(password.into(), Some(kept.clone())).await;
            assert_eq!(verified, Ok(right), "{password:?}");
        }
        assert_eq!(
            passwords.verify("correct horse".into(), None).await,
            Ok(false)
        );
    }

    #[test]
    fn nobodys_hash_has_the_same_cost() {
        let parameters = |text: &str| text.split('$').take(4).collect::<Vec<_>>().join("$");
        let somebodys = hash_now("x").expect("hashed");
        assert_eq!(parameters(&NOBODYS), parameters(&somebodys));
    }

    #[tokio::test]
    async fn a_short_password_is_refused() {
        let refusal = Passwords::default().hash("1234567".into()).await;
        assert_eq!(
            refusal.expect_err("refused").field.as_deref(),
            Some("password")
        );
    }

    #[test]
    fn a_made_up_password_is_a_good_one() {
        let (one, other) = (make_up(), make_up());
        assert_ne!(one, other);
        assert_eq!(one.len(), 23, "{one}");
        assert_eq!(one.matches('-').count(), 3, "{one}");
        assert!(check_new(&one).is_ok());
    }
}
