//! What can be chosen when an engine is started.

/// How an engine behaves. Start from the default and change what differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Shown to the server in the first message; never part of an address.
    pub token: Option<String>,
    /// A document with this many blocks in its log is compacted.
    pub compact_blocks: usize,
    /// A document with this many bytes of blocks in its log is compacted.
    pub compact_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { token: None, compact_blocks: 512, compact_bytes: 1 << 20 }
    }
}

impl EngineConfig {
    /// The default, with a token for the server.
    #[must_use]
    pub fn with_token(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_changes_nothing_else() {
        let (usual, config) = (EngineConfig::default(), EngineConfig::with_token("secret"));
        assert_eq!((usual.token, config.token.as_deref()), (None, Some("secret")));
        assert_eq!(config.compact_blocks, usual.compact_blocks);
        assert_eq!(config.compact_bytes, 1024 * 1024);
    }
}
