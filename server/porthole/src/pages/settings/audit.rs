//! The audit trail, for administrators.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Response;
use porthole_protocol::container::Timestamp;

use crate::Refusal;
use crate::pages::view::list::query;
use crate::pages::view::live::Region;
use crate::pages::view::settings::audit::{AuditPage, AuditRow, Listing, Verdict};
use crate::pages::view::settings::tabs;
use crate::pages::view::words::count;
use crate::pages::{Visit, page};
use crate::store::audit::chain::Verified;
use crate::store::audit::search::{Found, Wanted};

/// Entries of one page.
const ROWS: u32 = 100;
const DAY: i64 = 24 * 3600 * 1000;

/// The beginning of a day that was typed.
pub(crate) fn day(text: &str) -> Result<Option<i64>, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let moment = Timestamp::try_from(format!("{text}T00:00:00Z"));
    let at = moment.ok().and_then(|at| i64::try_from(at.0).ok());
    at.map(Some)
        .ok_or_else(|| Refusal::unusable("since", "Write a day as 2026-11-25."))
}

fn wanted(listing: &Listing) -> Result<Wanted, Refusal> {
    Ok(Wanted {
        account: listing.who.trim().to_owned(),
        act: listing.act.trim().replace(' ', "_"),
        object: listing.object.trim().to_owned(),
        since: day(&listing.since)?,
        until: day(&listing.until)?.map(|at| at.saturating_add(DAY)),
        before: listing.before,
        ..Wanted::default()
    })
}

/// The same for the API, which tells moments and not days.
fn export(listing: &Listing, wanted: &Wanted) -> String {
    let moment = |at: i64| Timestamp(at.unsigned_abs()).to_string();
    let of = [
        ("account", Some(listing.who.trim().to_owned())),
        ("act", Some(wanted.act.clone())),
        ("object", Some(wanted.object.clone())),
        ("since", wanted.since.map(moment)),
        ("until", wanted.until.map(moment)),
    ];
    let said = of
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let said: Vec<_> = said.filter(|(_, value)| !value.is_empty()).collect();
    query(&said)
}

/// Where what an entry is about is looked at, where it is still there.
fn link(visit: &Visit, found: &Found) -> Option<String> {
    let object = AuditRow::made(found).unwrap_or(&found.record.object);
    let world = &visit.state.world;
    if let Some(session) = object.parse().ok().and_then(|id| world.session(&id)) {
        return Some(format!("/sessions/{}", session.id));
    }
    let container = object.parse().ok().and_then(|id| world.container(&id));
    container.map(|container| format!("/containers/{}", container.id))
}

async fn show(
    visit: &Visit,
    status: StatusCode,
    listing: Listing,
    verdict: Option<Verdict>,
) -> Response {
    let (wanted, error) = match wanted(&listing) {
        Ok(wanted) => (wanted, String::new()),
        Err(refusal) => (Wanted::default(), refusal.message),
    };
    let store = &visit.state.store;
    let read = async || -> Result<_, Refusal> {
        Ok((
            store.audit_entries(&wanted, ROWS).await?,
            store.audit_acts()?,
            store.audit_head()?,
        ))
    };
    let (found, acts, head) = match read().await {
        Ok(read) => read,
        Err(refusal) => return visit.refuse(refusal),
    };
    let more = u32::try_from(found.len()).is_ok_and(|rows| rows == ROWS);
    let older = found.last().filter(|_| more).map(|last| {
        query(&Listing {
            before: Some(last.record.number),
            ..listing.clone()
        })
    });
    let first = Listing {
        before: None,
        ..listing.clone()
    };
    let audit = AuditPage {
        shell: visit.shell("settings"),
        tabs: tabs(visit.scene(), "/settings/audit"),
        export: export(&listing, &wanted),
        narrowed: !query(&first).is_empty(),
        acts: acts.iter().map(|act| act.replace('_', " ")).collect(),
        rows: found
            .iter()
            .map(|found| AuditRow::new(found, link(visit, found)))
            .collect(),
        older,
        listing,
        head: head.map(|head| head.to_string()).unwrap_or_default(),
        verdict,
        error,
        region: Region::default(),
    };
    page(status, &audit)
}

/// `/settings/audit`.
pub(in crate::pages) async fn list(
    visit: Visit,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let Query(listing) = listing.unwrap_or_default();
    show(&visit, StatusCode::OK, listing, None).await
}

/// Follows the whole chain.
pub(in crate::pages) async fn verify(visit: Visit) -> Response {
    let verdict = match visit.state.store.audit_verify().await {
        Ok(Ok(verified)) => Verdict {
            holds: true,
            message: whole(&verified),
        },
        Ok(Err(broken)) => Verdict {
            holds: false,
            message: format!(
                "{broken} Look at it with porthole audit verify on the machine, and compare with the server's log and a backup."
            ),
        },
        Err(error) => return visit.refuse(error.into()),
    };
    show(&visit, StatusCode::OK, Listing::default(), Some(verdict)).await
}

fn whole(verified: &Verified) -> String {
    let read = usize::try_from(verified.read).unwrap_or(usize::MAX);
    let mut message = format!(
        "{} hold together, none changed, missing or out of place.",
        count(read, "entry", "entries")
    );
    for (first, last) in &verified.elsewhere {
        message.push_str(&format!(
            " Entries {first} to {last} are not here; a checkpoint has closed them."
        ));
    }
    message
}
