//! Bugs that the simulator found, each by the few steps that showed it.

use leptos_sync_testkit::{Run, Step, play};

fn goes_well(seed: u64, steps: &[Step]) {
    assert_eq!(play(seed, steps).violation, None);
}

/// What goes wrong under a seed that found something before more was played.
fn as_at_first(seed: u64) -> Option<String> {
    Run { as_at_first: true, ..Run::new(seed) }.play().violation
}

/// The first write of a server that asks for names is a small value, and its failure stops it too.
#[test]
fn a_server_whose_fsync_fails_first_while_it_notes_a_name_stops() {
    let write = Step::Write { tab: 15229598419648382065, doc: 1, at: 52, kind: 3 };
    goes_well(31, &[Step::Pass { ms: 55 }, write, Step::ServerFsyncFails]);
}

/// The note for the next start is written by an engine that was shut down, too.
#[test]
fn a_tab_that_is_closed_right_after_an_edit_notes_that_it_is_unsent() {
    let write = Step::Write { tab: 14438457235646555243, doc: 0, at: 56, kind: 3 };
    let close = Step::CloseTab { tab: 2715668624379522281 };
    goes_well(42, &[Step::ServerFreeze { frozen: true }, write, Step::Pass { ms: 32 }, close]);
}

/// A change from a clock ahead is merged when its time has come, without a new connection.
#[test]
fn a_change_from_the_future_is_merged_when_its_time_has_come() {
    let steps = [
        Step::ServerStart,
        Step::ServerClockJump { error_ms: 935_287 },
        Step::Write { tab: 1764193283792045699, doc: 2, at: 23, kind: 6 },
        Step::Write { tab: 4043931706339626716, doc: 2, at: 35, kind: 2 },
        Step::Pass { ms: 22 },
    ];
    goes_well(151, &steps);
}

/// Nothing is shown as saved that a server lost with a restored backup, whatever its epoch.
#[test]
fn a_restored_server_of_the_same_epoch_gets_everything_again() {
    let write = Step::Write { tab: 9188450284039601474, doc: 0, at: 60, kind: 1 };
    let before = [Step::Pass { ms: 1_000 }, Step::Backup, write, Step::Pass { ms: 1_568 }];
    for seed in 0..40 {
        goes_well(seed, &[&before[..], &[Step::Restore]].concat());
    }
}

/// What only others than its author have after a restore comes back, though the backup knows whom
/// the author's id belongs to, and the author goes on.
#[test]
fn a_restored_server_that_asks_for_names_gets_what_only_others_have() {
    let write = |doc| Step::Write { tab: 0, doc, at: 7, kind: 1 };
    let open = |tab, doc| Step::OpenDoc { tab, doc };
    let pass = Step::Pass { ms: 2_000 };
    for seed in 0..20 {
        let before = [open(0, 0), open(0, 1), open(3, 0), open(3, 1), pass, write(0), pass];
        let after = [Step::Backup, write(1), pass, Step::Restore];
        let cleared = [Step::ClearSiteData { device: 0 }, pass, write(1)];
        goes_well(seed, &[&before[..], &after, &cleared].concat());
    }
}

/// What a document had stored that could be read at a later try only is uploaded then.
#[test]
fn what_is_read_at_a_later_try_is_uploaded() {
    let steps = [
        Step::Write { tab: 13030078282203761169, doc: 2, at: 43, kind: 6 },
        Step::DiskUnreadable { device: 16796860950454660606, unreadable: true },
        Step::Pass { ms: 41 },
        Step::Pass { ms: 29 },
        Step::ClockJump { device: 15259956243626533648, error_ms: 1_107_779 },
        Step::Write { tab: 12903525708157055441, doc: 2, at: 20, kind: 3 },
        Step::CloseTab { tab: 18052201012919693449 },
    ];
    goes_well(6775, &steps);
    assert_eq!(as_at_first(6775), None);
}

/// A change that waited inside a document for its time, and was let in by a later reading of what
/// is stored, is stored too before it is shown as saved.
#[test]
fn what_waited_in_a_document_is_stored_when_reading_lets_it_in() {
    for seed in [13_514, 50_148] {
        assert_eq!(as_at_first(seed), None, "seed {seed}");
    }
}

/// Whichever tab stores an unsent change notes first that there is one.
#[test]
fn what_another_tab_made_is_noted_as_unsent_before_it_is_stored() {
    let steps = [
        Step::PowerLoss { device: 7866701740100256035 },
        Step::Write { tab: 5342517240103294785, doc: 1, at: 31, kind: 4 },
        Step::Revoke { device: 14171377903657569102, revoked: false },
        Step::TakeOut { tab: 5745003739065448028, doc: 0, at: 19 },
        Step::ClockJump { device: 9908509571700879039, error_ms: 980_228 },
        Step::Write { tab: 5853574016581429226, doc: 2, at: 20, kind: 7 },
        Step::Write { tab: 6537597956676289859, doc: 2, at: 50, kind: 0 },
        Step::Revoke { device: 9523672543811345736, revoked: true },
        Step::Undo { tab: 11983860985633008130 },
        Step::TakeOut { tab: 448805183813169156, doc: 1, at: 56 },
        Step::Write { tab: 5243122159784267691, doc: 1, at: 10, kind: 7 },
        Step::PowerLoss { device: 145111811788828546 },
    ];
    goes_well(1222, &steps);
}

/// What is sent from memory while the disk is full has a name that no later start uses again.
#[test]
fn what_was_sent_from_memory_before_a_power_loss_is_there_once() {
    for seed in [4_828, 7_163] {
        assert_eq!(as_at_first(seed), None, "seed {seed}");
    }
}

/// That something is unsent follows from what is stored: no tab can take away another's note of it.
#[test]
fn what_one_tab_stores_while_another_finds_all_sent_is_sent_by_the_next_start() {
    for seed in [30_290, 53_196] {
        assert_eq!(as_at_first(seed), None, "seed {seed}");
    }
}

/// Somebody who claims an author id first cannot keep its owner's changes on their device.
#[test]
fn what_builds_on_changes_under_a_claimed_id_is_written_again_with_them() {
    for seed in [24_197, 1_016_865] {
        assert_eq!(as_at_first(seed), None, "seed {seed}");
    }
}

/// What took out a character goes on to take out the same one when it is written again.
#[test]
fn what_is_written_again_takes_out_what_it_took_out() {
    let steps = [
        Step::Write { tab: 9464482859058155894, doc: 2, at: 43, kind: 3 },
        Step::Write { tab: 13967974704218654825, doc: 2, at: 57, kind: 1 },
        Step::DiskStall { device: 7063077233273715791, stalled: true },
        Step::WriteLarge { tab: 12127837526312977506, doc: 1, at: 6, bytes: 69_404 },
        Step::StoreClosed { tab: 2954323685689794885 },
        Step::Write { tab: 6325395506605040797, doc: 0, at: 0, kind: 0 },
        Step::Pass { ms: 1_039 },
        Step::Write { tab: 16509314263129446792, doc: 0, at: 1, kind: 2 },
        Step::CloseTab { tab: 4321718858240452837 },
        Step::StoreClosed { tab: 18231118026334430313 },
        Step::Write { tab: 12449882358747630367, doc: 0, at: 7, kind: 5 },
        Step::Pass { ms: 19 },
        Step::TakeOut { tab: 10709373108196407387, doc: 0, at: 50 },
    ];
    goes_well(12_014, &steps);
}
