//! `/api/v1`: the same things as the pages, as JSON.

use crate::routes::Routes;

/// The API's routes.
pub fn routes(routes: Routes) -> Routes {
    routes
}
