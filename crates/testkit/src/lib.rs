//! A simulator that runs whole clients and the production server on a seeded clock, network and
//! disk.
//!
//! One seed decides everything: what people write, which tabs die, when the power goes and how
//! much of the disk's last write is left, which frames arrive. So a failure is replayed by its
//! number. See [`Run`], or run `cargo xtask sim`.
//!
//! # Where things are
//!
//! | module | what it holds |
//! |---|---|
//! | `step`, `faults` | what can happen, and how a seed plans it |
//! | `world`, `heal` | doing it, and ending it |
//! | `check`, `ledger`, `changes` | what must hold, and documents of which that can be told |
//! | `together` | changes of two documents at once, and what must hold of them |
//! | `device`, `server` | browser profiles with tabs, and the server's process |
//! | `disk`, `strikes`, `journal`, `net`, `mitm`, `tasks` | the simulated machine |
//! | `hostile` | somebody who sends what no client would |
//! | `run` | running seeds and shrinking failures |
//! | `planted` | known bugs, to see whether they are found |

mod changes;
mod check;
mod crash;
mod device;
mod disk;
mod evictions;
pub mod faults;
mod heal;
mod hostile;
mod journal;
mod ledger;
mod mitm;
mod net;
pub mod planted;
mod rng;
mod run;
mod server;
mod step;
mod strikes;
mod tasks;
mod together;
mod world;

pub use rng::Rng;
pub use run::{Failure, Outcome, Run, play};
pub use step::Step;
