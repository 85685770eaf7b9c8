//! Durable stores of document blocks: memory, IndexedDB, SQLite.
