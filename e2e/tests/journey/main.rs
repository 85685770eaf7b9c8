//! The whole journey in real Chromium against the real server.
