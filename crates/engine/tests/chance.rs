//! Many short lives of two devices with two tabs each, under faults that a seed chooses: whatever
//! was stored anywhere is everywhere in the end, once.
#![cfg(not(target_family = "wasm"))]

mod support;

use leptos_sync_engine::{DocHandle, SyncEngine};
use leptos_sync_storage::Fault;

use support::{Device, TestServer, Writing, board, pass, simulate, until};

const SEEDS: u64 = 60;
const STEPS: u64 = 40;

struct Tab {
    engine: SyncEngine,
    doc: DocHandle,
}

struct World {
    server: TestServer,
    devices: [Device; 2],
    tabs: Vec<Tab>,
    /// Devices whose storage is full.
    full: [bool; 2],
    seed: u64,
    words: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = TestServer::start();
        let devices = [Device::new(seed * 2 + 1), Device::new(seed * 2 + 2)];
        let mut world =
            Self { server, devices, tabs: Vec::new(), full: [false; 2], seed, words: 0 };
        for device in [0, 0, 1, 1] {
            let tab = world.open_tab(device);
            world.tabs.push(tab);
        }
        world
    }

    fn open_tab(&self, device: usize) -> Tab {
        let engine = self.devices[device].tab(&self.server);
        let doc = engine.open(&board());
        Tab { engine, doc }
    }

    fn choose(&mut self, choices: u64) -> u64 {
        self.seed =
            self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.seed >> 33) % choices
    }

    async fn step(&mut self) {
        let who = usize::try_from(self.choose(4)).expect("small");
        match self.choose(12) {
            0..=4 => {
                let doc = self.tabs[who].doc.clone();
                let len = doc.read(|doc| doc.text("note").len());
                let at = usize::try_from(self.choose(len as u64 + 1)).expect("small");
                // One character a word, so that words of others cannot fall into it.
                let word = char::from_u32(0x4e00 + u32::try_from(self.words).expect("few"));
                self.words += 1;
                doc.write(at, &word.expect("a character").to_string());
            }
            5 => {
                let reachable = self.choose(2) == 0;
                self.server.set_reachable(reachable).await;
            }
            6 => {
                let cut = self.choose(2) == 0;
                self.server.cut_before_ack(cut);
            }
            7 => {
                let device = who / 2;
                self.full[device] = !self.full[device];
                let fault = self.full[device].then_some(Fault::QuotaExceeded);
                self.devices[device].storage.fail_writes(fault);
            }
            8 => self.kill(who).await,
            9 => self.tabs[who].engine.nudge(),
            _ => {
                let ms = self.choose(3_000);
                pass(ms).await;
            }
        }
    }

    /// Ends a tab without a word, as soon as what it has is stored.
    async fn kill(&mut self, who: usize) {
        let device = who / 2;
        if self.full[device] {
            return;
        }
        let doc = self.tabs[who].doc.clone();
        until(move || doc.status().saved_here).await;
        let tab = self.tabs.remove(who);
        drop(tab.doc);
        tab.engine.shutdown();
        drop(tab.engine);
        let tab = self.open_tab(device);
        self.tabs.insert(who, tab);
    }

    async fn heal(&mut self) {
        for device in &self.devices {
            device.storage.fail_writes(None);
        }
        self.server.cut_before_ack(false);
        self.server.set_reachable(true).await;
        let docs: Vec<DocHandle> = self.tabs.iter().map(|tab| tab.doc.clone()).collect();
        let server = self.server.clone();
        let seed = self.seed;
        until(move || {
            let settled = docs.iter().all(|doc| doc.is_saved() && doc.status().saved_here);
            settled && docs.iter().all(|doc| doc.text() == server.text(&board()))
        })
        .await;
        let text = self.server.text(&board());
        assert_eq!(text.chars().count() as u64, self.words, "state {seed:x}");
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len() as u64, self.words, "no word twice");
    }
}

#[test]
fn nothing_is_lost_or_doubled_whatever_happens() {
    for seed in 0..SEEDS {
        // Shown if the test fails.
        eprintln!("seed {seed}");
        simulate(async move {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step().await;
            }
            world.heal().await;
        });
    }
}
