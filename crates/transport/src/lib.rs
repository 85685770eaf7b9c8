//! Sockets for leptos-sync: in memory, WebSocket in the browser and native, BroadcastChannel.
