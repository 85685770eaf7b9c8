//! What a client shows to be let in.

use jsonwebtoken::{EncodingKey, Header};
use leptos_sync_crdt::DocId;
use leptos_sync_server::{Authenticator as _, Claims, JwtAuth};
use serde_json::{Value, json};

use super::Target;
use crate::budget::within;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: Target = Target {
    name: "token",
    about: "tokens: none that we did not sign is taken, and one is taken as what it says",
    run: |bytes| {
        let auth = JwtAuth::new(SECRET).expect("the secret is long enough");
        let enter = |token: &str| within(token.len(), || auth.authenticate(Some(token)));
        if let Ok(token) = std::str::from_utf8(bytes) {
            assert!(enter(token).is_err(), "a token that nobody signed is taken");
        }
        let Ok(claims) = serde_json::from_slice::<Value>(bytes) else { return };
        let key = EncodingKey::from_secret(SECRET);
        let signed = jsonwebtoken::encode(&Header::default(), &claims, &key);
        let Ok(grant) = enter(&signed.expect("JSON is written")) else { return };
        let said: Claims = serde_json::from_value(claims).expect("it was taken");
        assert_eq!(grant.principal(), Some(said.sub.as_str()));
        let listed = said.read.iter().chain(&said.write).flatten();
        for doc in listed.filter_map(|id| DocId::new(id).ok()) {
            assert!(grant.permission(&doc).is_some(), "{doc} is listed and not allowed");
        }
    },
    examples: || {
        let claims = [
            json!({"sub": "ada", "exp": 4_000_000_000u64}),
            json!({"sub": "", "exp": u64::MAX, "read": ["public/*", "*"], "write": ["board/1"]}),
            json!({"sub": "ben", "exp": 1, "nbf": 9, "aud": ["x"], "read": null}),
        ];
        let auth = JwtAuth::new(b"another secret, as long as is needed").expect("long enough");
        let foreign = Claims { sub: "eve".into(), exp: 4_000_000_000, read: None, write: None };
        let foreign = auth.sign(&foreign).expect("JSON is written").into_bytes();
        claims.iter().map(|claims| claims.to_string().into_bytes()).chain([foreign]).collect()
    },
};
