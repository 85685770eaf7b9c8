//! The HTTP face: the WebSocket at `/sync` and who may open it, `/healthz`, and static files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use leptos_sync_protocol::{Limits, SUBPROTOCOL};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::connection;
use crate::door::Place;
use crate::hub::{Hub, Store};

/// The largest message that is read off a socket before the session refuses it by name.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How many clients may be connected at once.
const CONNECTIONS_MAX: usize = 16_384;

/// Which web pages may connect. Programs that send no `Origin` are not pages and always may.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Allowed beside the server's own origin, as the browser writes them: `https://example.org`.
    pub(crate) allowed: Vec<String>,
    /// Refuse to be called by other names than the loopback ones. Without authentication this
    /// keeps a page from reaching the server by pointing its own name at 127.0.0.1.
    pub(crate) loopback_host_only: bool,
}

impl Origins {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if self.allowed.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
            return true;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host else { return false };
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority == Some(host) && (!self.loopback_host_only || is_loopback_name(host))
    }
}

fn is_loopback_name(host: &str) -> bool {
    let Ok(uri) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = uri.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(is_loopback)
}

/// What every request needs.
pub(crate) struct Shared<S: Store> {
    pub(crate) hub: Arc<Hub<S>>,
    pub(crate) limits: Limits,
    pub(crate) origins: Origins,
}

/// The server's routes; with `assets`, everything else is a file or the app's page.
pub(crate) fn router<S: Store>(shared: Arc<Shared<S>>, assets: Option<PathBuf>) -> Router {
    let router = Router::new()
        .route("/sync", get(sync::<S>))
        .route("/healthz", get(healthz::<S>))
        .with_state(shared);
    let Some(assets) = assets else { return router };
    let files = Router::new()
        .fallback(move |request: Request| file(assets.clone(), request))
        .layer(middleware::from_fn(asset_headers));
    router.fallback_service(files)
}

async fn sync<S: Store>(
    State(shared): State<Arc<Shared<S>>>,
    uri: Uri,
    headers: HeaderMap,
    place: Option<Extension<Arc<Place>>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !shared.origins.admits(&headers) {
        tracing::warn!(origin = ?headers.get(ORIGIN), "refused a page of another origin");
        let text = "this origin may not connect; see --allow-origin";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    if uri.query().is_some() {
        // Proxies and browsers keep the addresses that they see.
        let text = "/sync takes no parameters: a token travels in the first message";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    if shared.hub.connection_count() >= CONNECTIONS_MAX {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many clients").into_response();
    }
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let text = format!("the WebSocket subprotocol must be {SUBPROTOCOL}");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    upgrade
        .read_buffer_size(8 << 10)
        .write_buffer_size(64 << 10)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let Shared { hub, limits, .. } = &*shared;
            connection::serve(hub.clone(), *limits, socket).await;
            drop(place);
        })
}

async fn healthz<S: Store>(State(shared): State<Arc<Shared<S>>>) -> Response {
    match shared.hub.storage.get_meta("server/id").await {
        Ok(_) => (StatusCode::OK, "ok\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

/// A file of `assets`, or the app's page for a path that does not look like a file.
async fn file(assets: PathBuf, request: Request) -> Response {
    let is_page = Path::new(request.uri().path()).extension().is_none();
    let method = request.method().clone();
    let headers = request.headers().clone();
    let served = serve_dir(&assets, request).await;
    if served.status() != StatusCode::NOT_FOUND || !is_page {
        return served;
    }
    let mut page = Request::new(axum::body::Body::empty());
    *page.method_mut() = method;
    *page.headers_mut() = headers;
    *page.uri_mut() = Uri::from_static("/index.html");
    serve_dir(&assets, page).await
}

async fn serve_dir(assets: &Path, request: Request) -> Response {
    match ServeDir::new(assets).oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    }
}

/// Browsers ask each time whether a file is still the same, so that a new build is seen at once.
async fn asset_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origins: &Origins, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        origins.admits(&headers)
    }

    #[test]
    fn pages_of_the_same_origin_and_programs_are_admitted() {
        let origins = Origins::default();
        assert!(admits(&origins, "example.org", Some("https://example.org")));
        assert!(admits(&origins, "localhost:8787", Some("http://localhost:8787")));
        assert!(admits(&origins, "example.org", None));
        assert!(!admits(&origins, "example.org", Some("https://evil.example")));
        assert!(!admits(&origins, "example.org", Some("https://example.org:444")));
        assert!(!admits(&origins, "example.org", Some("null")));
    }

    #[test]
    fn listed_origins_are_admitted() {
        let allowed = vec!["https://app.example/".to_owned()];
        let origins = Origins { allowed, loopback_host_only: true };
        assert!(admits(&origins, "sync.example", Some("https://app.example")));
        assert!(!admits(&origins, "sync.example", Some("https://other.example")));
    }

    #[test]
    fn a_name_pointed_at_loopback_is_refused_when_all_may_do_all() {
        let origins = Origins { allowed: Vec::new(), loopback_host_only: true };
        assert!(!admits(&origins, "evil.example:8787", Some("http://evil.example:8787")));
        for host in ["127.0.0.1:8787", "[::1]:8787", "localhost:8787", "app.localhost"] {
            assert!(admits(&origins, host, Some(&format!("http://{host}"))), "{host}");
        }
    }
}
