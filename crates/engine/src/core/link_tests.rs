//! What the server says, message by message, and what is sent because of it.

use leptos_sync_crdt::{Block, BlockReader, BlockWriter, Doc, PeerId, VersionVector};
use leptos_sync_protocol::{
    Ack, AckLevel, CaughtUp, CloseCode, DocErr, DocErrCode, GoAway, Limits, LogMark, Message, Nack,
    NackCode, Open, Opened, PeerMark, Permission, Ping, PresenceEntry, PresenceState, VERSION,
    Welcome, changes_frames, decode_frame, encode_frame,
};
use leptos_sync_transport::Closed;

use super::tests::{at, board, dialed, loaded, outputs, unreachable, write};
use super::{Core, Job, JobResult, Now, Output};
use crate::config::EngineConfig;
use crate::event::DocEvent;
use crate::status::{Reason, SyncState};

pub(super) const FEED: u32 = 3;

pub(super) fn version(counts: &[(u64, u32)]) -> VersionVector {
    counts.iter().map(|&(peer, count)| (PeerId(peer), count)).collect()
}

/// Runs all storage work that is due, and all of it works.
pub(super) fn store(core: &mut Core, now: Now) {
    while let Some(job) = core.next_job(now) {
        let result = match job {
            Job::Append(_) => JobResult::Append(Ok(())),
            Job::Meta { .. } => JobResult::Meta(Ok(())),
            Job::Compact { doc, .. } => JobResult::Compact(doc, Ok(())),
            Job::Replace { doc, .. } => JobResult::Replace(doc, Ok(())),
        };
        core.job_finished(now, result);
    }
}

/// What the server was asked for and sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) opens: Vec<Open>,
    pub(super) blocks: Vec<Block>,
}

pub(super) fn welcome(epoch: u64, server_ms: u64) -> Message {
    Message::Welcome(Welcome {
        version: VERSION,
        features: 0,
        server_id: 9,
        epoch,
        session: 1,
        server_ms,
        principal: None,
        auth_expires_ms: None,
        heartbeat_ms: 20_000,
        presence_ttl_ms: 30_000,
        limits: Limits::default(),
    })
}

/// An engine and the server's end of its connection.
pub(super) struct Wire {
    pub(super) core: Core,
    pub(super) generation: u64,
    pub(super) ch: u32,
    reader: BlockReader,
    writer: BlockWriter,
}

impl Wire {
    /// Connected and welcomed, with the document asked for.
    pub(super) fn new(now: Now, core: Core) -> (Self, Sent) {
        Self::welcomed(now, core, welcome(1, now.wall_ms))
    }

    /// As after a cut: at once, and with a server that was there before.
    pub(super) fn welcomed_again(now: Now, mut core: Core) -> (Self, Sent) {
        core.nudge(now);
        let generation = dialed(&outputs(&mut core)).expect("it dials again");
        Self::connected(now, core, generation, welcome(1, now.wall_ms))
    }

    pub(super) fn welcomed(now: Now, mut core: Core, welcome: Message) -> (Self, Sent) {
        core.dial(now);
        let generation = dialed(&outputs(&mut core)).expect("it dials");
        Self::connected(now, core, generation, welcome)
    }

    pub(super) fn connected(
        now: Now,
        mut core: Core,
        generation: u64,
        welcome: Message,
    ) -> (Self, Sent) {
        assert!(core.connected(now, generation));
        outputs(&mut core);
        let (reader, writer) = (BlockReader::default(), BlockWriter::default());
        let mut wire = Self { core, generation, ch: 0, reader, writer };
        let asked = wire.say(now, &welcome);
        (wire, asked)
    }

    /// Connected, with the document opened at a server that has `have` and all changes sent.
    pub(super) fn opened(now: Now, core: Core, have: VersionVector) -> (Self, Sent) {
        let (mut wire, _) = Self::new(now, core);
        let mut sent = wire.open(now, have, None);
        sent.blocks.extend(wire.caught_up(now).blocks);
        (wire, sent)
    }

    pub(super) fn say(&mut self, now: Now, message: &Message) -> Sent {
        let outputs = self.hear(now, message);
        self.read(&outputs)
    }

    pub(super) fn hear(&mut self, now: Now, message: &Message) -> Vec<Output> {
        let heard = self.core.frame(now, self.generation, encode_frame(message));
        assert!(heard, "it is the present connection");
        outputs(&mut self.core)
    }

    pub(super) fn sent(&mut self) -> Sent {
        let outputs = outputs(&mut self.core);
        self.read(&outputs)
    }

    pub(super) fn read(&mut self, outputs: &[Output]) -> Sent {
        let mut sent = Sent::default();
        let frames = outputs.iter().filter_map(|output| match output {
            Output::Send(frame) => Some(decode_frame(frame).expect("our own frame")),
            _ => None,
        });
        for message in frames.flatten() {
            match message {
                Message::Open(open) => {
                    self.ch = open.ch;
                    self.reader = BlockReader::default();
                    self.writer = BlockWriter::default();
                    sent.opens.push(open);
                }
                Message::Changes(changes) => {
                    let blocks = changes.read(&mut self.reader).expect("our own blocks");
                    sent.blocks.extend(blocks);
                }
                _ => {}
            }
        }
        sent
    }

    pub(super) fn open(&mut self, now: Now, have: VersionVector, mark: Option<PeerMark>) -> Sent {
        let (ch, permission) = (self.ch, Permission::Write);
        let opened = Opened { ch, feed: FEED, permission, have, mark };
        self.say(now, &Message::Opened(opened))
    }

    pub(super) fn feed(&mut self, now: Now, blocks: &[Block]) {
        for frame in changes_frames(&mut self.writer, self.ch, blocks) {
            assert!(self.core.frame(now, self.generation, frame));
        }
    }

    pub(super) fn caught_up(&mut self, now: Now) -> Sent {
        // A mark of something else than is here, which is not kept.
        self.read_up_to(now, LogMark { position: 0, digest: 1 })
    }

    pub(super) fn read_up_to(&mut self, now: Now, at: LogMark) -> Sent {
        let ch = self.ch;
        self.say(now, &Message::CaughtUp(CaughtUp { ch, at }))
    }

    pub(super) fn refuse(&mut self, now: Now, block: &Block, code: NackCode, retry_after_ms: u32) {
        let (ch, peer, seq) = (self.ch, block.peer(), block.seq());
        self.say(now, &Message::Nack(Nack { ch, peer, seq, code, retry_after_ms }));
    }

    pub(super) fn ack(&mut self, now: Now, through: VersionVector) {
        let (ch, level) = (self.ch, AckLevel::Durable);
        self.say(now, &Message::Ack(Ack { ch, level, through }));
    }

    /// Lets time pass while the server is heard of.
    pub(super) fn tick(&mut self, now: Now) -> Sent {
        self.say(now, &Message::Ping(Ping { id: 0 }));
        self.core.tick(now);
        store(&mut self.core, now);
        self.sent()
    }

    pub(super) fn pending(&self) -> usize {
        self.core.doc_status(&board()).expect("it is open").pending
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.core.doc_status(&board()).expect("it is open").reason
    }

    pub(super) fn state(&self) -> SyncState {
        self.core.doc_status(&board()).expect("it is open").state
    }
}

pub(super) fn written(core: &mut Core, now: Now) -> Block {
    let block = write(core, now);
    store(core, now);
    outputs(core);
    block
}

/// A change of somebody else's, by their clock.
pub(super) fn theirs(wall_ms: u64) -> Block {
    let mut other = Doc::new(PeerId(8));
    other.transact(wall_ms, |tx| tx.counter("n").add(10));
    other.blocks_since(&VersionVector::new()).remove(0)
}

fn count(core: &mut Core) -> i64 {
    core.open(&board()).borrow().counter("n")
}

#[test]
fn a_change_is_sent_when_it_is_stored_and_counted_until_it_is_durable_there() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    assert_eq!((wire.state(), wire.pending()), (SyncState::Saved, 0));
    let block = write(&mut wire.core, at(1));
    assert_eq!(wire.sent().blocks, []);
    store(&mut wire.core, at(2));
    assert_eq!(wire.sent().blocks, std::slice::from_ref(&block));
    assert_eq!((wire.state(), wire.pending()), (SyncState::Syncing, 1));
    let next = written_and_sent(&mut wire, at(3));
    wire.ack(at(4), version(&[(7, 1)]));
    assert_eq!((wire.state(), wire.pending()), (SyncState::Syncing, 1));
    wire.ack(at(4), version(&[(7, next.end())]));
    assert_eq!((wire.state(), wire.pending()), (SyncState::Saved, 0));
}

pub(super) fn written_and_sent(wire: &mut Wire, now: Now) -> Block {
    let block = write(&mut wire.core, now);
    store(&mut wire.core, now);
    assert_eq!(wire.sent().blocks, std::slice::from_ref(&block));
    block
}

#[test]
fn the_clock_is_set_right_only_when_it_is_clearly_wrong() {
    let now = at(100_000);
    for (server_ms, shown) in [
        (now.wall_ms + 30_000, now.wall_ms),
        (now.wall_ms - 30_000, now.wall_ms),
        (now.wall_ms + 30_001, now.wall_ms + 30_001),
        (now.wall_ms - 30_001, now.wall_ms - 30_001),
    ] {
        let (wire, _) = Wire::welcomed(now, loaded(true), welcome(1, server_ms));
        assert_eq!(wire.core.wall_ms(now), shown);
        let later = at(100_500);
        assert_eq!(wire.core.wall_ms(later), shown + 500);
    }
}

#[test]
fn a_change_that_was_refused_for_now_is_sent_again_when_the_server_said() {
    for (code, retry_after_ms, later, reason) in [
        (NackCode::Quota, 2_000, 2_000, Reason::Rejected(NackCode::Quota)),
        (NackCode::Quota, 0, 5_000, Reason::Rejected(NackCode::Quota)),
        (NackCode::ClockSkew, 0, 60_000, Reason::ClockSkew),
        (NackCode::ClockSkew, 1_000, 1_000, Reason::ClockSkew),
    ] {
        let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
        let block = written_and_sent(&mut wire, at(1));
        wire.tick(at(400));
        wire.refuse(at(1_000), &block, code, retry_after_ms);
        assert_eq!((wire.reason(), wire.pending()), (Some(reason), 1));
        let due = 1_000 + later;
        assert!(wire.core.deadline().is_some_and(|at| at <= due));
        assert_eq!(wire.tick(at(due - 1)).blocks, []);
        assert_eq!(wire.tick(at(due)).blocks, [block]);
        assert_eq!(wire.reason(), None);
        assert_eq!(wire.tick(at(due + 1)).blocks, [], "once");
    }
}

#[test]
fn a_change_that_was_refused_for_good_is_kept_and_its_followers_wait() {
    for (code, reason) in [
        (NackCode::Forbidden, Reason::Forbidden),
        (NackCode::Invalid, Reason::Rejected(NackCode::Invalid)),
    ] {
        let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
        let first = written_and_sent(&mut wire, at(1));
        let second = written_and_sent(&mut wire, at(2));
        wire.refuse(at(3), &second, code, 0);
        wire.refuse(at(3), &first, code, 0);
        wire.refuse(at(3), &second, code, 0);
        write(&mut wire.core, at(4));
        store(&mut wire.core, at(4));
        assert_eq!(wire.sent().blocks, []);
        for late in [100_000, 200_000] {
            assert_eq!(wire.tick(at(late)).blocks, []);
        }
        assert_eq!((wire.reason(), wire.pending()), (Some(reason), 3));
    }
}

#[test]
fn of_several_refusals_the_one_of_the_first_change_counts() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let first = written_and_sent(&mut wire, at(1));
    let second = written_and_sent(&mut wire, at(2));
    let quota = Some(Reason::Rejected(NackCode::Quota));
    wire.refuse(at(3), &second, NackCode::Forbidden, 0);
    wire.refuse(at(3), &first, NackCode::Quota, 1_000);
    assert_eq!(wire.reason(), quota);
    wire.refuse(at(3), &second, NackCode::Forbidden, 0);
    assert_eq!(wire.reason(), quota);
    assert_eq!(wire.tick(at(1_003)).blocks, [first, second]);
}

#[test]
fn what_came_before_a_refused_change_is_still_sent() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    written_and_sent(&mut wire, at(1));
    let second = written_and_sent(&mut wire, at(2));
    wire.refuse(at(3), &second, NackCode::Quota, 1_000);
    wire.ack(at(3), version(&[(7, 1)]));
    assert_eq!(wire.tick(at(1_003)).blocks, [second], "and not what the server has");
}

#[test]
fn a_document_that_is_refused_for_now_is_asked_for_again() {
    let (mut wire, asked) = Wire::new(at(0), loaded(true));
    assert_eq!(asked.opens.len(), 1);
    store(&mut wire.core, at(400));
    let error = DocErr { ch: wire.ch, code: DocErrCode::Unavailable, detail: String::new() };
    wire.say(at(500), &Message::DocErr(error));
    assert_eq!((wire.state(), wire.reason()), (SyncState::Offline, Some(Reason::ServerBusy)));
    assert_eq!(wire.core.deadline(), Some(5_500));
    assert_eq!(wire.tick(at(5_499)).opens, []);
    assert_eq!(wire.tick(at(5_500)).opens.len(), 1);
}

#[test]
fn a_document_that_may_not_be_read_is_not_asked_for_again() {
    for (code, reason) in [
        (DocErrCode::Forbidden, Reason::Forbidden),
        (DocErrCode::Unsupported, Reason::NewerVersion),
    ] {
        let (mut wire, _) = Wire::new(at(0), loaded(true));
        let error = DocErr { ch: wire.ch, code, detail: String::new() };
        wire.say(at(1), &Message::DocErr(error));
        assert_eq!((wire.state(), wire.reason()), (SyncState::Offline, Some(reason)));
        assert_eq!(wire.core.status().state, SyncState::Offline);
        assert_eq!(wire.tick(at(100_000)).opens, []);
    }
}

#[test]
fn a_server_that_goes_away_is_left_alone_for_as_long_as_it_said() {
    let (mut wire, _) = Wire::new(at(0), loaded(true));
    store(&mut wire.core, at(400));
    let away = GoAway { code: 1001, retry_after_ms: 7_000, detail: String::new() };
    wire.say(at(500), &Message::GoAway(away));
    wire.core.disconnected(at(1_000), wire.generation, &Closed::lost("gone"));
    assert_eq!(wire.core.status().state, SyncState::Offline);
    assert_eq!(wire.core.status().reason, Some(Reason::ServerBusy));
    let retry = wire.core.deadline().expect("it comes back");
    assert!((8_001..=8_250).contains(&retry), "{retry}");
    wire.core.tick(at(retry - 1));
    assert_eq!(dialed(&outputs(&mut wire.core)), None);
    wire.core.tick(at(retry));
    assert!(dialed(&outputs(&mut wire.core)).is_some());
}

#[test]
fn what_only_a_person_can_help_with_is_named_and_not_dialed_again() {
    for (code, reason) in [
        (CloseCode::Unauthorized, Reason::Unauthorized),
        (CloseCode::Forbidden, Reason::Forbidden),
        (CloseCode::UnsupportedVersion, Reason::NewerVersion),
    ] {
        let (mut wire, _) = Wire::new(at(0), loaded(true));
        let closed = Closed { code: code.as_u16(), reason: String::new() };
        wire.core.disconnected(at(1), wire.generation, &closed);
        assert_eq!(wire.core.status().reason, Some(reason));
        wire.core.tick(at(1_000_000));
        assert_eq!(dialed(&outputs(&mut wire.core)), None);
        wire.core.nudge(at(1_000_001));
        assert!(dialed(&outputs(&mut wire.core)).is_some(), "somebody may have helped");
    }
}

#[test]
fn a_server_of_another_version_is_hung_up_on() {
    let mut core = loaded(true);
    core.dial(at(0));
    let generation = dialed(&outputs(&mut core)).expect("it dials");
    assert!(core.connected(at(0), generation));
    let Message::Welcome(other) = welcome(1, at(0).wall_ms) else { unreachable!() };
    let other = Message::Welcome(Welcome { version: VERSION + 1, ..other });
    core.frame(at(1), generation, encode_frame(&other));
    let hung_up = |output: &Output| matches!(output, Output::Hangup { code: 4406, .. });
    assert!(outputs(&mut core).iter().any(hung_up));
    assert_eq!(core.status().reason, Some(Reason::NewerVersion));
    core.tick(at(1_000_000));
    assert_eq!(dialed(&outputs(&mut core)), None);
}

#[test]
fn facts_about_other_attempts_change_nothing() {
    let mut core = loaded(true);
    core.dial(at(0));
    core.dial(at(0));
    let dials = outputs(&mut core);
    let dials = dials.iter().filter(|output| matches!(output, Output::Dial { .. }));
    assert_eq!(dials.count(), 1, "one attempt at a time");
    core.tick(at(1));
    let generation = 1;
    core.connect_failed(at(1), generation, &unreachable());
    let retry = core.deadline();
    core.connect_failed(at(2), generation, &unreachable());
    assert_eq!(core.deadline(), retry);
    core.tick(at(retry.expect("it dials again")));
    let generation = dialed(&outputs(&mut core)).expect("it dials again");
    assert!(core.connected(at(300), generation));
    assert!(!core.connected(at(301), generation), "it is connected");
    assert_eq!(core.status().state, SyncState::Offline, "not welcomed, after a failure");
}

#[test]
fn nothing_is_dialed_without_a_server_or_after_the_end() {
    let mut lonely = loaded(false);
    lonely.dial(at(0));
    lonely.set_online(at(1), false);
    assert_eq!(dialed(&outputs(&mut lonely)), None);
    assert_eq!(lonely.status().reason, Some(Reason::NoServer));

    let (mut wire, _) = Wire::new(at(0), loaded(true));
    wire.core.shut_down(at(1));
    let ended = outputs(&mut wire.core);
    assert!(ended.iter().any(|output| matches!(output, Output::Hangup { code: 1000, .. })));
    wire.core.nudge(at(2));
    wire.core.tick(at(1_000_000));
    assert_eq!(dialed(&outputs(&mut wire.core)), None);
}

#[test]
fn without_a_connection_documents_are_shown_as_offline_and_nothing_is_looked_at_for_nothing() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    wire.feed(at(1), &[theirs(at(0).wall_ms)]);
    store(&mut wire.core, at(400));
    wire.core.set_online(at(401), false);
    assert_eq!((wire.state(), wire.reason()), (SyncState::Offline, Some(Reason::NoNetwork)));
    assert_eq!(wire.core.deadline(), None);
}

#[test]
fn a_network_that_was_there_all_along_is_no_news() {
    let mut core = loaded(true);
    core.dial(at(0));
    let generation = dialed(&outputs(&mut core)).expect("it dials");
    core.connect_failed(at(1), generation, &unreachable());
    core.set_online(at(2), true);
    assert_eq!(dialed(&outputs(&mut core)), None);
    assert_eq!(core.status().reason, Some(Reason::ServerUnreachable));
}

#[test]
fn a_change_from_the_future_waits_for_its_time() {
    let now = at(0);
    let (mut wire, _) = Wire::opened(now, loaded(true), version(&[]));
    store(&mut wire.core, at(400));
    let early = theirs(now.wall_ms + 5 * 60_000 + 20_000);
    wire.feed(now, &[early]);
    assert_eq!(count(&mut wire.core), 0);
    wire.tick(at(10_000));
    wire.tick(at(29_999));
    assert_eq!(count(&mut wire.core), 0);
    assert_eq!(wire.core.deadline(), Some(30_000));
    wire.tick(at(30_000));
    assert_eq!(count(&mut wire.core), 10);
    assert!(wire.core.deadline().is_none_or(|due| due > 40_000), "nothing waits any more");
}

#[test]
fn others_are_there_as_long_as_the_server_says_so() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    let ada = PresenceEntry { session: 2, principal: None, payload: Some("Ada".into()) };
    let state = PresenceState { feed: FEED, full: true, entries: vec![ada] };
    let presence = encode_frame(&Message::PresenceState(state));
    let is_presence = |output: &Output| matches!(output, Output::Event(_, DocEvent::Presence));
    wire.core.frame(at(1), wire.generation, presence);
    assert!(outputs(&mut wire.core).iter().any(is_presence));
    assert_eq!(wire.core.peers(&board())[0].payload, b"Ada");
    wire.core.disconnected(at(2), wire.generation, &Closed::lost("cut"));
    assert!(outputs(&mut wire.core).iter().any(is_presence));
    assert_eq!(wire.core.peers(&board()), []);

    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    wire.core.disconnected(at(2), wire.generation, &Closed::lost("cut"));
    assert!(!outputs(&mut wire.core).iter().any(is_presence), "nobody was there");
}

#[test]
fn only_another_life_of_the_server_is_a_reason_to_look_for_unsent_documents() {
    let looks = |outputs: &[Output]| {
        outputs.iter().filter(|output| matches!(output, Output::FindUnsent(Some(_)))).count()
    };
    let mut core = loaded(true);
    let mut found = Vec::new();
    for (epoch, now) in [(1, 0), (1, 1_000), (2, 2_000)] {
        core.nudge(at(now));
        let generation = dialed(&outputs(&mut core)).expect("it dials");
        assert!(core.connected(at(now), generation));
        outputs(&mut core);
        core.frame(at(now), generation, encode_frame(&welcome(epoch, at(now).wall_ms)));
        found.push(looks(&outputs(&mut core)));
        core.disconnected(at(now + 1), generation, &Closed::lost("cut"));
    }
    assert_eq!(found, [1, 0, 1]);
}

#[test]
fn a_page_that_is_left_has_no_connection_until_it_is_shown_again() {
    let now = at(0);
    let (mut wire, _) = Wire::opened(now, loaded(true), version(&[]));
    wire.core.leave(at(1));
    let hangs_up = |output: &Output| matches!(output, Output::Hangup { code: 1000, .. });
    assert!(outputs(&mut wire.core).iter().any(hangs_up));
    wire.core.tick(at(100_000));
    assert_eq!(dialed(&outputs(&mut wire.core)), None, "it does not come back by itself");
    wire.core.nudge(at(100_001));
    assert!(dialed(&outputs(&mut wire.core)).is_some());
    assert_eq!(wire.core.status().state, SyncState::Connecting);

    let mut core = loaded(true);
    core.set_online(now, false);
    core.leave(at(1));
    core.nudge(at(2));
    assert_eq!(dialed(&outputs(&mut core)), None);
    assert_eq!(core.status().reason, Some(Reason::NoNetwork));
}

/// What was sent, message by message.
fn messages(core: &mut Core) -> Vec<Message> {
    let frames = outputs(core).into_iter().filter_map(|output| match output {
        Output::Send(frame) => Some(decode_frame(&frame).expect("our own frame")),
        _ => None,
    });
    frames.flatten().collect()
}

#[test]
fn the_server_is_told_who_is_here_and_when_a_document_is_closed() {
    let (mut wire, _) = Wire::opened(at(0), loaded(true), version(&[]));
    store(&mut wire.core, at(1));
    outputs(&mut wire.core);
    wire.core.set_presence(at(2), &board(), Some(b"Ada".to_vec()));
    let told = messages(&mut wire.core);
    assert!(matches!(told[..], [Message::PresenceSet(_)]), "{told:?}");
    wire.core.set_presence(at(3), &board(), Some(b"Ada".to_vec()));
    assert_eq!(messages(&mut wire.core), [], "no news");
    wire.core.close(at(4), &board());
    for ms in [4, 1_000, 5_000] {
        wire.core.tick(at(ms));
        store(&mut wire.core, at(ms));
    }
    assert!(!wire.core.is_open(&board()));
    let told = messages(&mut wire.core);
    assert!(told.iter().any(|message| matches!(message, Message::Close(_))), "{told:?}");
}

#[test]
fn who_is_here_is_told_when_the_document_is_opened_on_the_server() {
    let mut core = loaded(true);
    core.set_presence(at(0), &board(), Some(b"Ada".to_vec()));
    assert_eq!(messages(&mut core), [], "there is no connection");
    let (mut wire, _) = Wire::new(at(1), core);
    let (ch, permission, have) = (wire.ch, Permission::Write, version(&[]));
    let opened = Message::Opened(Opened { ch, feed: FEED, permission, have, mark: None });
    assert!(wire.core.frame(at(2), wire.generation, encode_frame(&opened)));
    let told = messages(&mut wire.core);
    let is_presence = |message: &Message| matches!(message, Message::PresenceSet(_));
    assert!(told.iter().any(is_presence), "{told:?}");
}

#[test]
fn an_engine_without_documents_says_what_is_wrong_with_the_connection() {
    let mut core = Core::new(EngineConfig::default(), 1, true);
    core.dial(at(0));
    let generation = dialed(&outputs(&mut core)).expect("it dials");
    assert!(core.connected(at(0), generation));
    let closed = Closed { code: CloseCode::Forbidden.as_u16(), reason: String::new() };
    core.disconnected(at(1), generation, &closed);
    assert_eq!(core.status().reason, Some(Reason::Forbidden));
}
