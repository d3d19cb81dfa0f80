//! Who may do what: accounts, sign-in, the rules for requests from browsers.
//!
//! A request passes, from outside in: the name it was addressed to ([`origin`]), who sends it
//! ([`identity`]), whether a browser was tricked into sending it ([`origin`]), and the permission
//! of its route on the very object that it names ([`permission`]).

pub mod cookie;
pub mod delay;
pub mod gate;
pub mod identity;
pub mod limits;
pub mod origin;
pub mod password;
pub mod permission;
pub mod proxy;
pub mod refused;
pub mod secret;
pub mod setup;
pub mod standing;
pub mod tries;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use identity::{Account, Identity, Role, Via};
pub use permission::{Permission, TheAnyContainer, TheContainer, TheSession};

use crate::Refusal;
use crate::settings::Settings;
use origin::Names;
use password::Passwords;
use refused::Refused;
use setup::SetupCode;
use standing::Standing;
use tries::Tries;

/// What access is decided by, beside the store.
pub struct Access {
    /// Names that are answered to.
    pub names: Names,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// The first administrator's code.
    pub setup: SetupCode,
    /// Tells open sockets that somebody's rights have changed.
    pub standing: Standing,
    /// Which refused sign-ins are written down.
    pub refused: Refused,
    tries: Mutex<Tries>,
}

impl Access {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self {
            names: Names {
                listen: settings.listen.ip(),
                scheme: settings.scheme(),
                public: settings.public_url.clone(),
            },
            passwords: Passwords::default(),
            setup: SetupCode::new(settings.address(), settings.run.join("setup-code")),
            standing: Standing::default(),
            refused: Refused::default(),
            tries: Mutex::default(),
        }
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a try at a secret of this account from this address, or says how long to wait. The
    /// try counts as failed until [`Access::succeeded`] says otherwise.
    pub fn attempt(&self, account: &str, address: Option<IpAddr>) -> Result<(), Refusal> {
        let begun = self
            .tries()
            .begin(secret::hash(account), address, Instant::now());
        begun.map_err(|wait| {
            let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
            Refusal::too_many(
                format!("Too many wrong tries. Wait {seconds} s, then try again."),
                seconds,
            )
        })
    }

    /// The secret was right.
    pub fn succeeded(&self, account: &str, address: Option<IpAddr>) {
        self.tries()
            .succeeded(secret::hash(account), address, Instant::now());
    }

    /// The account has another secret now, or is gone: where it was known says nothing any more.
    pub fn secret_changed(&self, account: &str) {
        self.tries().forget(secret::hash(account));
    }
}
