//! Accounts, for administrators.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use porthole_protocol::container::{ContainerState, Owner};
use serde::Deserialize;

use crate::Refusal;
use crate::access::limits::{Change, Kind};
use crate::access::{Account, Role};
use crate::actions::accounts::{self, Containers, Wish};
use crate::actions::limits;
use crate::pages::view::live::Region;
use crate::pages::view::reference;
use crate::pages::view::settings::users::{
    DeletePage, ROLES, Typed, UserPage, UserRow, UsersPage, Wrong, limit_fields, seen,
};
use crate::pages::view::settings::{Trouble, tabs, usage};
use crate::pages::view::words::{count, sentence, visible};
use crate::pages::{Visit, page};

/// The list's address, also of its tab.
const LIST: &str = "/settings/users";
/// The most containers that the question before an account is deleted names.
const NAMED: usize = 20;

/// What is searched for, and what was done.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::pages) struct Listing {
    q: String,
}

fn fill(visit: &Visit, q: &str) -> Result<UsersPage, Refusal> {
    let state = &visit.state;
    let accounts = state.store.accounts()?;
    let last_seen = state.store.last_seen()?;
    let words = q.trim().to_lowercase();
    let row = |account: &Account| {
        let used = limits::used(&state.world, &account.name);
        let allowed = limits::allowed(state, account);
        let of = |kind| usage::one(kind, &used, &allowed);
        UserRow {
            name: account.name.to_string(),
            role: account.role.name(),
            disabled: account.disabled_at.is_some(),
            containers: of(Kind::Containers),
            sessions: of(Kind::Sessions),
            memory: of(Kind::Memory),
            seen: seen(&last_seen, account),
            created: account.created_at.into(),
            own: account.name == *visit.who.name(),
        }
    };
    let matches = |account: &&Account| {
        let name = account.name.as_str().to_lowercase();
        name.contains(&words) || account.role.name() == words
    };
    Ok(UsersPage {
        shell: visit.shell("settings"),
        tabs: tabs(visit.scene(), LIST),
        q: q.to_owned(),
        total: accounts.len(),
        users: accounts.iter().filter(matches).map(row).collect(),
        trouble: Trouble::default(),
        done: String::new(),
        region: Region::default(),
    })
}

fn show(
    visit: &Visit,
    status: StatusCode,
    q: &str,
    change: impl FnOnce(&mut UsersPage),
) -> Response {
    match fill(visit, q) {
        Ok(mut users) => {
            change(&mut users);
            page(status, &users)
        }
        Err(refusal) => visit.refuse(refusal),
    }
}

/// `/settings/users`.
pub(in crate::pages) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    show(&visit, StatusCode::OK, &listing.q, |_| ())
}

/// An account to be made.
#[derive(Deserialize)]
pub(in crate::pages) struct UserForm {
    name: String,
    password: String,
    role: String,
}

/// Makes an account.
pub(in crate::pages) async fn make(
    visit: Visit,
    form: Result<Form<UserForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let (typed, chosen) = (form.name.trim().to_owned(), form.role.clone());
    match made(&visit, &typed, form).await {
        Ok(account) => show(&visit, StatusCode::CREATED, "", |users| {
            users.done = format!("The account {} is made.", account.name);
        }),
        Err(refusal) => show(&visit, refusal.status, "", |users| {
            let field = refusal.field.unwrap_or_default();
            users.trouble = Trouble {
                form: "user",
                field: if &*field == "user" {
                    "name".into()
                } else {
                    field.into()
                },
                message: sentence(&refusal.message),
                typed,
                chosen,
            };
        }),
    }
}

async fn made(visit: &Visit, name: &str, form: UserForm) -> Result<Account, Refusal> {
    let name: Owner = name
        .parse()
        .map_err(|why| Refusal::unusable("name", format!("{why}")))?;
    let role: Role = form
        .role
        .parse()
        .map_err(|why| Refusal::unusable("role", format!("{why}")))?;
    accounts::create(&visit.state, &visit.who, name, role, form.password).await
}

fn user_page(
    visit: &Visit,
    account: &Account,
    typed: Typed,
    wrong: Wrong,
) -> Result<UserPage, Refusal> {
    let state = &visit.state;
    let used = limits::used(&state.world, &account.name);
    let defaults = limits::defaults(state.settings.user_limits, account.role);
    let all = usage::all(&used, &defaults);
    let logins = state.store.logins(account.id, &visit.who.via)?;
    let (meanwhile, now) = (wrong.meanwhile, Typed::of(account));
    let word = if account.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    };
    let running = state.world.containers();
    let running = running
        .iter()
        .filter(|c| c.owner == account.name && runs(c.state));
    Ok(UserPage {
        shell: visit.shell("settings"),
        tabs: tabs(visit.scene(), LIST),
        name: account.name.to_string(),
        limits: limit_fields(&typed, account, &defaults, &all, &wrong),
        roles: ROLES,
        role_now: (meanwhile && now.role != typed.role).then(|| account.role.name()),
        disabled_now: (meanwhile && now.disabled.is_empty() != typed.disabled.is_empty())
            .then_some(word),
        typed,
        wrong,
        done: String::new(),
        fresh_password: String::new(),
        disabled: account.disabled_at.map(Into::into),
        created: account.created_at.into(),
        logins: logins.len(),
        seen: seen(&state.store.last_seen()?, account),
        tokens: state.store.tokens(account.id)?.len(),
        runs: format!(
            "{} and {}",
            count(running.count(), "container", "containers"),
            count(
                usize::try_from(used.get(Kind::Sessions)).unwrap_or(usize::MAX),
                "session",
                "sessions"
            )
        ),
        own: account.name == *visit.who.name(),
        region: Region::default(),
    })
}

const fn runs(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running | ContainerState::Paused)
}

fn show_one(
    visit: &Visit,
    name: &str,
    status: StatusCode,
    typed: Option<(Typed, Wrong)>,
    change: impl FnOnce(&mut UserPage),
) -> Response {
    let filled = accounts::require(&visit.state, name).and_then(|account| {
        let (typed, wrong) = typed.unwrap_or_else(|| (Typed::of(&account), Wrong::default()));
        user_page(visit, &account, typed, wrong)
    });
    match filled {
        Ok(mut user) => {
            change(&mut user);
            page(status, &user)
        }
        Err(refusal) => visit.refuse(refusal),
    }
}

/// `/settings/users/{user}`.
pub(in crate::pages) async fn one(visit: Visit, Path(user): Path<String>) -> Response {
    show_one(&visit, &user, StatusCode::OK, None, |_| ())
}

/// Changes an account: everything that the form holds, or nothing.
pub(in crate::pages) async fn change(
    visit: Visit,
    Path(user): Path<String>,
    form: Result<Form<Typed>, FormRejection>,
) -> Response {
    let typed = match form {
        Ok(Form(typed)) => typed,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    let own = user == visit.who.name().as_str();
    let (wish, revision) = match wish(&typed, own) {
        Ok(wish) => wish,
        Err(wrong) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return show_one(&visit, &user, status, Some((typed, wrong)), |_| ());
        }
    };
    match accounts::change(&visit.state, &visit.who, &user, wish, Some(revision)).await {
        Ok(_) => show_one(&visit, &user, StatusCode::OK, None, |page| {
            "It is changed.".clone_into(&mut page.done);
        }),
        Err(refusal) if refusal.code == "account_not_found" => visit.refuse(refusal),
        Err(refusal) => {
            let wrong = Wrong {
                message: sentence(&refusal.message),
                meanwhile: refusal.code == "changed_meanwhile",
                ..Wrong::default()
            };
            let status = refusal.status;
            show_one(&visit, &user, status, Some((typed, wrong)), |page| {
                // Sent again, it goes over what was seen now.
                if page.wrong.meanwhile
                    && let Ok(account) = accounts::require(&visit.state, &user)
                {
                    page.typed.revision = account.revision.to_string();
                }
            })
        }
    }
}

fn wish(typed: &Typed, own: bool) -> Result<(Wish, i64), Wrong> {
    let whole = |message: &str| Wrong {
        message: message.to_owned(),
        ..Wrong::default()
    };
    let limits = typed.limits().map_err(|fields| Wrong {
        fields,
        ..whole("Some of the limits cannot be used.")
    })?;
    let revision = typed.revision.parse();
    let revision = revision.map_err(|_| whole("The form is not whole. Open the page anew."))?;
    let mut wish = Wish {
        limits: Change::to(limits),
        ..Wish::default()
    };
    // One's own role and state are another administrator's to change, so the form has neither.
    if !own {
        let role = typed.role.parse();
        wish.role = Some(role.map_err(|_| whole("Choose a role."))?);
        wish.disabled = Some(!typed.disabled.is_empty());
    }
    Ok((wish, revision))
}

/// Gives an account a password that is made up, and shows it, this once.
pub(in crate::pages) async fn reset_password(visit: Visit, Path(user): Path<String>) -> Response {
    match accounts::reset_password(&visit.state, &visit.who, &user).await {
        Ok(password) => show_one(&visit, &user, StatusCode::OK, None, |page| {
            page.fresh_password = password;
        }),
        Err(refusal) => visit.refuse(refusal),
    }
}

/// Ends all sign-ins and tokens of an account.
pub(in crate::pages) async fn end_access(visit: Visit, Path(user): Path<String>) -> Response {
    match accounts::end_access(&visit.state, &visit.who, &user).await {
        Ok(()) => show_one(&visit, &user, StatusCode::OK, None, |page| {
            "Its sign-ins and tokens have ended, and their connections are closed."
                .clone_into(&mut page.done);
        }),
        Err(refusal) => visit.refuse(refusal),
    }
}

fn delete_page(visit: &Visit, account: &Account, error: String) -> DeletePage {
    let world = &visit.state.world;
    let containers = world.containers();
    let owned: Vec<_> = containers
        .iter()
        .filter(|c| c.owner == account.name)
        .collect();
    let sessions = world.sessions();
    let theirs = sessions.iter().filter(|s| s.owner == account.name);
    let (ended, live): (Vec<_>, Vec<_>) = theirs.partition(|s| s.exit.is_some());
    DeletePage {
        shell: visit.shell("settings"),
        tabs: tabs(visit.scene(), LIST),
        name: account.name.to_string(),
        owned: owned.len(),
        running: owned.iter().filter(|c| runs(c.state)).count(),
        containers: owned
            .iter()
            .take(NAMED)
            .map(|container| {
                let at = reference(world, &(**container).clone().into());
                let path = format!("/containers/{at}");
                let name = visible(container.name.as_str());
                (name, path, container.state.name())
            })
            .collect(),
        sessions: live.len(),
        ended: ended.len(),
        disabled: account.disabled_at.is_some(),
        error,
        region: Region::default(),
    }
}

/// The question before an account is deleted.
pub(in crate::pages) async fn ask_delete(visit: Visit, Path(user): Path<String>) -> Response {
    match accounts::require(&visit.state, &user) {
        Ok(account) => page(
            StatusCode::OK,
            &delete_page(&visit, &account, String::new()),
        ),
        Err(refusal) => visit.refuse(refusal),
    }
}

/// The answer to it.
#[derive(Deserialize)]
pub(in crate::pages) struct DeleteForm {
    /// How many containers the question has named.
    containers: usize,
    /// `delete` or `disable`.
    what: String,
}

/// Removes an account with its containers, or only disables it.
pub(in crate::pages) async fn delete(
    visit: Visit,
    Path(user): Path<String>,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(why) => return visit.refuse(Refusal::malformed(why.body_text())),
    };
    match deleted(&visit, &user, &form).await {
        Ok(done) => show(&visit, StatusCode::OK, "", |users| users.done = done),
        Err(refusal) => match accounts::require(&visit.state, &user) {
            Ok(account) => {
                let asked = delete_page(&visit, &account, sentence(&refusal.message));
                page(refusal.status, &asked)
            }
            Err(_) => visit.refuse(refusal),
        },
    }
}

async fn deleted(visit: &Visit, user: &str, form: &DeleteForm) -> Result<String, Refusal> {
    let (state, who) = (&visit.state, &visit.who);
    if form.what == "disable" {
        let wish = Wish {
            disabled: Some(true),
            ..Wish::default()
        };
        let account = accounts::change(state, who, user, wish, None).await?;
        return Ok(format!("The account {} is disabled.", account.name));
    }
    let account = accounts::require(state, user)?;
    let owned = delete_page(visit, &account, String::new()).owned;
    if owned != form.containers {
        return Err(Refusal::conflict(
            "changed_meanwhile",
            "Its containers are others than when this was asked. Look at them again.",
        ));
    }
    let what = if owned == 0 {
        Containers::Keep
    } else {
        Containers::Remove
    };
    accounts::delete(state, who, user, what).await?;
    Ok(match owned {
        0 => format!("The account {} is deleted.", account.name),
        owned => format!(
            "The account {} is deleted, and {} with it.",
            account.name,
            count(owned, "container", "containers")
        ),
    })
}
