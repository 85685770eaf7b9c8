//! Known bugs that can be switched on, one at a time, to see whether the simulator finds them.
//!
//! Most sit in the simulated disk, network and platform, at the place where a store, a server or a
//! browser with that bug would differ. The last ones sit in the product's own code, and are there
//! only if it is compiled with `--cfg planted`, as `cargo xtask sim` does: a program that is built
//! in any other way has no trace of them.

use std::cell::Cell;

macro_rules! bugs {
    (
        simulated { $($name:ident: $about:literal,)* }
        product { $($own:ident: $its:literal,)* }
    ) => {
        /// A known bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $about] $name,)*
            $(#[doc = $its] $own,)*
        }

        /// Every known bug that this program can have, and what it is.
        pub const ALL: &[(Bug, &str)] = &[
            $((Bug::$name, $about),)*
            $(#[cfg(planted)] (Bug::$own, $its),)*
        ];

        /// What the product's code calls the bug, if it sits there.
        #[cfg(planted)]
        fn name_in_product(bug: Bug) -> Option<&'static str> {
            match bug {
                $(Bug::$own => Some(stringify!($own)),)*
                _ => None,
            }
        }
    };
}

bugs! {
    simulated {
        DiskAnswersBeforeItWrites: "a write is acknowledged and is not in the journal yet",
        FsyncIsSkipped: "every other fsync does nothing",
        TornTailLosesAll: "recovery gives up on a journal whose last record is torn",
        RecoveryDropsTheLastRecord: "recovery drops the last whole record",
        RecoveryStopsHalfway: "recovery reads only the first half of a long journal",
        CompactionForgetsTheSnapshot: "compaction removes the blocks and does not write a snapshot",
        BatchIsSplit: "of a batch of several blocks the last one is not stored",
        DocumentsAreWrittenApart: "of a batch over several documents each is a write of its own",
        QuotaIsNotReported: "a write that found no room is answered as a success",
        UnsentIsNotFound: "what an earlier tab stored and did not send is not looked for",
        UnsentSketchIsNotFound: "that is not looked for in a document of lists, trees and undo",
        LoadForgetsTheLastBlock: "reading a document leaves out its last block",
        EvictionIsNotTold: "no tab is told that what was stored is gone",
        AProfileKeepsItsId: "all starts of a profile draw the same numbers, and so one author id",
        AllDrawTheSameId: "all profiles draw the same random numbers, and so one author id",
        ServerFailedFsyncIsRetried: "a failed fsync is answered as a success",
        AckBeforeStore: "the server acknowledges what it has only received",
        AckTooMuch: "an acknowledgement covers one change more than was stored",
        AckIsLost: "the server acknowledges nothing",
        NackIsSwallowed: "a refusal is answered as an acknowledgement",
        FanOutSkipsOne: "of several changes for a reader the first is skipped",
        FanOutStops: "a reader gets no changes after it has caught up",
        BlocksAreCut: "a reader gets only half of the changes of a frame",
        PackIsCut: "a pack for a reader lacks its last change",
        PackIsLost: "packs do not reach their readers",
        MarksArriveUnderAnotherKey: "marks reach readers under another key",
        OpenedClaimsTooMuch: "the server claims to have what it has not",
        CaughtUpIsLost: "the server never says that all was sent",
        UploadSkipsOne: "the client leaves out the last change of each message",
        UploadStops: "the client's changes are lost without a closed connection",
        PieceIsLost: "of a change that is sent in pieces the last one is lost",
        CreditIsLost: "the server gives no credit back",
        HaveClaimsTooMuch: "the client claims to have what it has not",
        MarkIsTooLate: "the client claims to have read further than it has",
        PresenceOfTheDead: "that somebody has left is not passed on",
        PresenceIsLost: "nobody is shown to anybody",
        HelloFromTheFuture: "the client speaks a version that the server does not",
        IgnoresLag: "the server goes on writing to a reader that does not read",
        WindowIsIgnored: "the client sends more than the server's window",
        PermissionIsIgnored: "whoever may only read may write",
        GrantsAreKept: "what was granted to a connection holds until it ends",
        DropsADelete: "taking something out is not written to the text",
        AppliesHalf: "of a transaction the counter is left out",
        AdoptsAFutureClock: "the server takes changes from any future",
    }
    product {
        AcknowledgesBeforeStoring: "the server acknowledges changes, and then stores them",
        GivesCreditBeforeStoring: "the server gives credit for changes that wait for its disk",
        ForwardsBeforeStoring: "the server sends changes to readers, and then stores them",
        TakesAFullDiskForWritten: "the server counts changes for which there was no room as stored",
        TakesAnyStamp: "the server does not look at when a change says that it was made",
        ForgetsADependency: "the server takes a change without what it depends on",
        StoresWhatIsSentAgain: "the server takes a change that it has for a new one",
        CompactsAwayWhatCameSince: "a store that is compacted drops what was appended meanwhile",
        IgnoresAnEpochChange: "a client takes a server's new life for the one it knew",
        TakesAnyAcknowledgementForAll: "a client takes any acknowledgement for one of all it has",
        SendsNothingAfterAReconnect: "a client does not send again what it sent before",
        ShowsSavedBeforeItIs: "a client shows changes as saved here that wait for storage",
        ForgetsAFailedWrite: "a client does not try again to store what could not be stored",
        UndoStaysInMemory: "what undo did is neither stored nor sent",
        ForgetsWhatWaits: "a client does not look again at changes that wait for their time",
        BelievesAnyTab: "a tab takes what another stored for stored, also where that is gone since",
    }
}

thread_local! {
    static CURRENT: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Switches a bug on in this thread, or the one that is on off.
pub fn plant(bug: Option<Bug>) {
    CURRENT.set(bug);
    #[cfg(planted)]
    leptos_sync_storage::plant_in_product(bug.and_then(name_in_product));
}

/// Whether the bug is switched on in this thread.
pub(crate) fn is_planted(bug: Bug) -> bool {
    CURRENT.get() == Some(bug)
}

/// The bug that is switched on in this thread.
pub(crate) fn planted() -> Option<Bug> {
    CURRENT.get()
}
