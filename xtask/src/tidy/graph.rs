//! Forbidden edges between crates, read from `cargo metadata`.
//!
//! Dependencies point one way through the house: each crate may know the crates named beside it
//! and no other of ours. Test-only dependencies are free, except that no rival comes in by them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Each crate, and the crates of ours it may know.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("leptos-sync-crdt", &[]),
    ("leptos-sync-protocol", &["leptos-sync-crdt"]),
    ("leptos-sync-storage", &["leptos-sync-crdt"]),
    ("leptos-sync-transport", &[]),
    (
        "leptos-sync-engine",
        &[
            "leptos-sync-crdt",
            "leptos-sync-protocol",
            "leptos-sync-storage",
            "leptos-sync-transport",
        ],
    ),
    ("leptos-sync-macros", &[]),
    ("leptos-sync", &["leptos-sync-engine", "leptos-sync-macros"]),
    ("leptos-sync-server", &["leptos-sync-crdt", "leptos-sync-protocol", "leptos-sync-storage"]),
    (
        "leptos-sync-testkit",
        &[
            "leptos-sync-crdt",
            "leptos-sync-engine",
            "leptos-sync-protocol",
            "leptos-sync-server",
            "leptos-sync-storage",
            "leptos-sync-transport",
        ],
    ),
    ("notebook", &["leptos-sync"]),
    ("baseline", &[]),
    // A long history is written, and not typed.
    ("e2e", &["leptos-sync-crdt"]),
    ("xtask", &[]),
];

/// Crates that are functions of their inputs, all the way down.
const PURE: &[&str] = &["leptos-sync-crdt", "leptos-sync-protocol"];

/// What no pure crate may reach: clocks, entropy, I/O, executors, the browser.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "futures",
    "futures-core",
    "getrandom",
    "gloo-timers",
    "instant",
    "js-sys",
    "mio",
    "rand",
    "smol",
    "socket2",
    "time",
    "tokio",
    "wasm-bindgen",
    "web-sys",
    "web-time",
];

/// Libraries that do the same as this one; they live in `bench` and nowhere else.
const RIVALS: &[&str] =
    &["automerge", "diamond-types", "loro", "loro-internal", "samod", "yrs", "y-octo"];

/// The dependency graph, by package name.
#[derive(Default)]
struct Graph {
    members: BTreeSet<String>,
    /// What each package needs to run.
    normal: BTreeMap<String, BTreeSet<String>>,
    /// What each package needs for anything, tests and build scripts too.
    any: BTreeMap<String, BTreeSet<String>>,
}

/// Every forbidden edge, as a sentence each.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    Graph::read(metadata).breaches()
}

impl Graph {
    fn read(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();

        let mut graph = Self::default();
        graph.members.extend(list(&metadata["workspace_members"]).iter().map(name));
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = name(&node["id"]);
            for dep in list(&node["deps"]) {
                let to = name(&dep["pkg"]);
                if list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    graph.normal.entry(from.clone()).or_default().insert(to.clone());
                }
                graph.any.entry(from.clone()).or_default().insert(to);
            }
        }
        graph
    }

    fn breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (from, allowed) in MAY_KNOW {
            let direct = self.normal.get(*from).into_iter().flatten();
            for to in direct.filter(|to| self.members.contains(*to)) {
                if !allowed.contains(&to.as_str()) {
                    found.push(format!("{from} may not depend on {to}"));
                }
            }
        }
        for from in PURE.iter().filter(|name| self.members.contains(**name)) {
            for to in reach(&self.normal, from) {
                if IMPURE.contains(&to) {
                    found.push(format!("{from} is pure and may not reach {to}"));
                }
            }
        }
        for from in self.members.iter().filter(|name| !name.contains("bench")) {
            for to in reach(&self.any, from) {
                if RIVALS.contains(&to) {
                    found.push(format!("{from} may not reach {to}; rivals live in bench"));
                }
            }
        }
        found
    }
}

/// Everything below `from`, without itself.
fn reach<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = edges.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if seen.insert(name) {
            next.extend(edges.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of `from -> to` lines; `~>` is an edge for tests only.
    fn breaches_of(edges: &str) -> Vec<String> {
        let mut graph = Graph::default();
        for line in edges.split(", ") {
            let (from, to, normal) = match line.split_once(" -> ") {
                Some((from, to)) => (from, to, true),
                None => {
                    let (from, to) = line.split_once(" ~> ").expect("an edge");
                    (from, to, false)
                }
            };
            let ours = |name: &&str| MAY_KNOW.iter().any(|(known, _)| known == name);
            graph.members.extend([from, to].iter().filter(|n| ours(n)).map(|n| (*n).to_owned()));
            graph.any.entry(from.to_owned()).or_default().insert(to.to_owned());
            if normal {
                graph.normal.entry(from.to_owned()).or_default().insert(to.to_owned());
            }
        }
        graph.breaches()
    }

    #[test]
    fn edges_of_the_house_are_fine() {
        let edges = "leptos-sync -> leptos-sync-engine, leptos-sync-engine -> leptos-sync-crdt, \
                     leptos-sync-engine -> tokio, leptos-sync-server ~> leptos-sync-transport";
        assert_eq!(breaches_of(edges), [""; 0]);
    }

    #[test]
    fn the_face_knows_the_engine_only() {
        let edges = "leptos-sync -> leptos-sync-crdt, leptos-sync-crdt -> thiserror";
        assert_eq!(breaches_of(edges), ["leptos-sync may not depend on leptos-sync-crdt"]);
    }

    #[test]
    fn a_clock_is_found_behind_another_crate() {
        let edges = "leptos-sync-crdt -> helper, helper -> chrono";
        assert_eq!(breaches_of(edges), ["leptos-sync-crdt is pure and may not reach chrono"]);
    }

    #[test]
    fn a_rival_is_found_even_as_a_test_dependency() {
        let edges = "leptos-sync-engine ~> yrs";
        let told = "leptos-sync-engine may not reach yrs; rivals live in bench";
        assert_eq!(breaches_of(edges), [told]);
    }
}
