//! From the address an application gives to the WebSocket URL that is dialed.

use crate::transport::ConnectError;

/// The WebSocket URL that `address` means on the page with the URL `page`.
///
/// A path such as `/sync` is on the page's own host, `ws:` for `http:` and `wss:` for `https:`. An
/// address with a scheme needs no page; `http:` and `https:` are taken for their WebSocket twins.
///
/// # Errors
/// [`ConnectError::Address`] if it is none of these.
///
/// ```
/// # use leptos_sync_transport::socket_url;
/// assert_eq!(socket_url("/sync", Some("https://a.example/d/1"))?, "wss://a.example/sync");
/// assert_eq!(socket_url("ws://127.0.0.1:8787/sync", None)?, "ws://127.0.0.1:8787/sync");
/// # Ok::<(), leptos_sync_transport::ConnectError>(())
/// ```
pub fn socket_url(address: &str, page: Option<&str>) -> Result<String, ConnectError> {
    let refuse = |detail: &str| {
        Err(ConnectError::Address { url: address.to_owned(), detail: detail.to_owned() })
    };
    if let Some((scheme, rest)) = address.split_once("://") {
        let Some(scheme) = socket_scheme(scheme) else {
            return refuse("the scheme is not ws, wss, http or https");
        };
        return match rest.split(['/', '?']).next() {
            None | Some("") => refuse("there is no host"),
            Some(_) if rest.contains('#') => refuse("a fragment is not allowed"),
            Some(_) => Ok(format!("{scheme}://{rest}")),
        };
    }
    if !address.starts_with('/') {
        return refuse("it has neither a scheme nor a leading slash");
    }
    let Some((scheme, rest)) = page.and_then(|page| page.split_once("://")) else {
        return refuse("a path needs a page to be relative to");
    };
    let Some(scheme) = socket_scheme(scheme) else {
        return refuse("the page was not loaded over http or https");
    };
    if address.starts_with("//") {
        return socket_url(&format!("{scheme}:{address}"), None);
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    socket_url(&format!("{scheme}://{host}{address}"), None)
}

fn socket_scheme(scheme: &str) -> Option<&'static str> {
    match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => Some("ws"),
        "wss" | "https" => Some("wss"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, page: &str, expected: &str) {
        let page = (!page.is_empty()).then_some(page);
        assert_eq!(socket_url(address, page).as_deref(), Ok(expected));
    }

    #[test]
    fn a_path_is_on_the_pages_host() {
        check("/sync", "http://localhost:8787/", "ws://localhost:8787/sync");
        check("/sync", "https://a.example", "wss://a.example/sync");
        check("/a/b?c=d", "https://a.example/x/y?z#w", "wss://a.example/a/b?c=d");
        check("/sync", "http://[::1]:80?x", "ws://[::1]:80/sync");
        check("//b.example/sync", "https://a.example/", "wss://b.example/sync");
    }

    #[test]
    fn a_scheme_stands_for_itself_or_its_twin() {
        check("ws://a/s", "https://b/", "ws://a/s");
        check("wss://a/s", "", "wss://a/s");
        check("http://a/s", "", "ws://a/s");
        check("HTTPS://a", "", "wss://a");
    }

    #[test]
    fn anything_else_is_refused() {
        for (address, page) in [
            ("", Some("http://a/")),
            ("sync", Some("http://a/")),
            ("/sync", None),
            ("/sync", Some("about:blank")),
            ("/sync", Some("file:///x")),
            ("ftp://a/", None),
            ("ws://", None),
            ("ws:///sync", None),
            ("ws://a/#b", None),
            ("///sync", Some("http://a/")),
        ] {
            let refused = socket_url(address, page);
            assert!(matches!(refused, Err(ConnectError::Address { .. })), "{address}: {refused:?}");
        }
    }
}
