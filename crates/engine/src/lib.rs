//! SyncEngine: documents kept on the device and synced through a server.
