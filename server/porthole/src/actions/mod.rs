//! What can be done, for pages and API alike. Whoever calls has checked the permission on the very
//! object that is passed (a route's [`Permission`](crate::access::Permission) does); what depends
//! on the request's content, such as host namespaces being for administrators, is checked here.

pub mod containers;
pub mod sessions;
