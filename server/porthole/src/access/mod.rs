//! Who may do what: accounts, sign-in, the rules for requests from browsers.
//!
//! A request passes, from outside in: the name it was addressed to ([`origin`]), who sends it
//! ([`identity`]), whether a browser was tricked into sending it ([`origin`]), and the permission
//! of its route on the very object that it names ([`permission`]).

pub mod cookie;
pub mod delay;
pub mod gate;
pub mod identity;
pub mod origin;
pub mod password;
pub mod permission;
pub mod secret;
pub mod setup;
pub mod standing;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use identity::{Account, Identity, Role, Via};
pub use permission::{Permission, TheContainer, TheSession};

use crate::Refusal;
use crate::settings::Settings;
use delay::Delays;
use identity::SecretHash;
use origin::Names;
use password::Passwords;
use setup::SetupCode;
use standing::Standing;

/// The longest wait that wrong passwords for an account cause, from wherever they came.
const ACCOUNT_WAIT: Duration = Duration::from_secs(30);
/// The longest wait that wrong passwords from an address cause.
const ADDRESS_WAIT: Duration = Duration::from_secs(300);

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
    /// By the hash of the name, which may be anything of any length.
    by_account: Mutex<Delays<SecretHash>>,
    by_address: Mutex<Delays<IpAddr>>,
}

impl Access {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self {
            names: Names {
                listen: settings.listen.ip(),
                public: settings.public_url.clone(),
            },
            passwords: Passwords::default(),
            setup: SetupCode::new(settings.address(), settings.run.join("setup-code")),
            standing: Standing::default(),
            by_account: Mutex::new(Delays::new(ACCOUNT_WAIT)),
            by_address: Mutex::new(Delays::new(ADDRESS_WAIT)),
        }
    }

    /// Begins a try at a secret of this account from this address, or says how long to wait. The
    /// try counts as failed until [`Access::succeeded`] says otherwise.
    pub fn attempt(&self, account: &str, address: Option<IpAddr>) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut accounts = self
            .by_account
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut addresses = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = secret::hash(account);
        let wait = accounts
            .remaining(&key, now)
            .max(address.map_or(Duration::ZERO, |a| addresses.remaining(&a, now)));
        if !wait.is_zero() {
            let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
            return Err(Refusal::too_many(
                format!("Too many wrong tries. Wait {seconds} s, then try again."),
                seconds,
            ));
        }
        accounts.failed(key, now);
        if let Some(address) = address {
            addresses.failed(address, now);
        }
        Ok(())
    }

    /// The secret was right.
    pub fn succeeded(&self, account: &str, address: Option<IpAddr>) {
        let mut accounts = self
            .by_account
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        accounts.succeeded(&secret::hash(account));
        if let Some(address) = address {
            let mut addresses = self
                .by_address
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            addresses.succeeded(&address);
        }
    }
}
