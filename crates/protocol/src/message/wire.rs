//! The fields of each message as bytes, in the order that `docs/protocol.md` lists them.

use bytes::Bytes;
use leptos_sync_crdt::{DecodeError, DocId, PeerId, Reader, VersionVector, Writer};

use super::{
    Ack, CaughtUp, Changes, Close, Credit, DocErr, GoAway, Hello, LogMark, Nack, Open, Opened,
    Pack, PeerMark, Piece, Ping, Pong, PresenceEntry, PresenceSet, PresenceState, Welcome,
};
use crate::code::{AckLevel, DocErrCode, NackCode, Permission};
use crate::limits::{Limits, PACK_BYTES_MAX, encode_version};

fn put_option<T>(out: &mut Writer, value: Option<T>, put: impl FnOnce(&mut Writer, T)) {
    match value {
        None => out.u8(0),
        Some(value) => {
            out.u8(1);
            put(out, value);
        }
    }
}

fn get_option<'a, T>(
    input: &mut Reader<'a>,
    get: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if get_bool(input)? { get(input).map(Some) } else { Ok(None) }
}

fn get_bool(input: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("flag")),
    }
}

fn put_text(out: &mut Writer, text: &str) {
    out.str(text);
}

fn get_text(input: &mut Reader<'_>) -> Result<String, DecodeError> {
    input.str().map(str::to_owned)
}

impl PeerMark {
    pub(super) fn encode(self, out: &mut Writer) {
        out.u64_le(self.peer.0);
        out.varint(u64::from(self.seq));
        out.u64_le(self.hash);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let peer = PeerId(input.u64_le()?);
        Ok(Self { peer, seq: input.varint_u32()?, hash: input.u64_le()? })
    }
}

impl LogMark {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(self.position);
        out.u64_le(self.digest);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { position: input.varint()?, digest: input.u64_le()? })
    }
}

impl Hello {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.version_min));
        out.varint(u64::from(self.version_max));
        out.varint(self.features);
        out.u64_le(self.client_id);
        put_option(out, self.token.as_deref(), put_text);
        out.varint(self.wall_ms);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            version_min: input.varint_u32()?,
            version_max: input.varint_u32()?,
            features: input.varint()?,
            client_id: input.u64_le()?,
            token: get_option(input, get_text)?,
            wall_ms: input.varint()?,
        })
    }
}

impl Welcome {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.version));
        out.varint(self.features);
        out.u64_le(self.server_id);
        out.u64_le(self.epoch);
        out.u64_le(self.session);
        out.varint(self.server_ms);
        put_option(out, self.principal.as_deref(), put_text);
        put_option(out, self.auth_expires_ms, Writer::varint);
        out.varint(u64::from(self.heartbeat_ms));
        out.varint(u64::from(self.presence_ttl_ms));
        self.limits.encode(out);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            version: input.varint_u32()?,
            features: input.varint()?,
            server_id: input.u64_le()?,
            epoch: input.u64_le()?,
            session: input.u64_le()?,
            server_ms: input.varint()?,
            principal: get_option(input, get_text)?,
            auth_expires_ms: get_option(input, Reader::varint)?,
            heartbeat_ms: input.varint_u32()?,
            presence_ttl_ms: input.varint_u32()?,
            limits: Limits::decode(input)?,
        })
    }
}

impl Open {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.str(self.doc.as_str());
        encode_version(&self.have, out);
        put_option(out, self.me, |out, mark| mark.encode(out));
        put_option(out, self.since, |out, mark| mark.encode(out));
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ch: input.varint_u32()?,
            doc: DocId::new(input.str()?).map_err(|_| DecodeError::Invalid("document id"))?,
            have: VersionVector::decode(input)?,
            me: get_option(input, PeerMark::decode)?,
            since: get_option(input, LogMark::decode)?,
        })
    }
}

impl Opened {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.varint(u64::from(self.feed));
        out.u8(self.permission.as_u8());
        encode_version(&self.have, out);
        put_option(out, self.mark, |out, mark| mark.encode(out));
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ch: input.varint_u32()?,
            feed: input.varint_u32()?,
            permission: Permission::decode(input)?,
            have: VersionVector::decode(input)?,
            mark: get_option(input, PeerMark::decode)?,
        })
    }
}

impl Changes {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.bytes(&self.entries);
    }

    pub(super) fn decode(input: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let ch = input.varint_u32()?;
        // What the entries are is for those to read who know what came before.
        let entries = frame.slice_ref(input.bytes()?);
        if entries.is_empty() {
            return Err(DecodeError::Invalid("entries"));
        }
        Ok(Self { ch, entries })
    }
}

impl Pack {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.bytes(&self.update);
    }

    pub(super) fn decode(input: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let ch = input.varint_u32()?;
        let update = frame.slice_ref(input.bytes()?);
        if update.len() > PACK_BYTES_MAX {
            return Err(DecodeError::Invalid("pack"));
        }
        Ok(Self { ch, update })
    }
}

impl Piece {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.u64_le(self.peer.0);
        out.varint(u64::from(self.seq));
        out.varint(u64::from(self.total));
        out.varint(u64::from(self.offset));
        out.bytes(&self.data);
    }

    pub(super) fn decode(input: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ch: input.varint_u32()?,
            peer: PeerId(input.u64_le()?),
            seq: input.varint_u32()?,
            total: input.varint_u32()?,
            offset: input.varint_u32()?,
            data: frame.slice_ref(input.bytes()?),
        })
    }
}

impl CaughtUp {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        self.at.encode(out);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self { ch: input.varint_u32()?, at: LogMark::decode(input)? })
    }
}

impl Ack {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.u8(self.level.as_u8());
        encode_version(&self.through, out);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        let ch = input.varint_u32()?;
        let level = AckLevel::decode(input)?;
        Ok(Self { ch, level, through: VersionVector::decode(input)? })
    }
}

impl Nack {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.u64_le(self.peer.0);
        out.varint(u64::from(self.seq));
        out.u8(self.code.as_u8());
        out.varint(u64::from(self.retry_after_ms));
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ch: input.varint_u32()?,
            peer: PeerId(input.u64_le()?),
            seq: input.varint_u32()?,
            code: NackCode::from_u8(input.u8()?),
            retry_after_ms: input.varint_u32()?,
        })
    }
}

impl Credit {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(u64::from(self.bytes));
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self { bytes: input.varint_u32()? })
    }
}

impl Close {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self { ch: input.varint_u32()? })
    }
}

impl DocErr {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        out.u8(self.code.as_u8());
        out.str(&self.detail);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        let ch = input.varint_u32()?;
        let code = DocErrCode::from_u8(input.u8()?);
        Ok(Self { ch, code, detail: get_text(input)? })
    }
}

impl Ping {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(self.id);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self { id: input.varint()? })
    }
}

impl Pong {
    pub(super) fn encode(self, out: &mut Writer) {
        out.varint(self.id);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self { id: input.varint()? })
    }
}

impl GoAway {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.code));
        out.varint(u64::from(self.retry_after_ms));
        out.str(&self.detail);
    }

    pub(super) fn decode(input: &mut Reader<'_>, _: &Bytes) -> Result<Self, DecodeError> {
        let code = u16::try_from(input.varint()?).map_err(|_| DecodeError::IntegerRange)?;
        Ok(Self { code, retry_after_ms: input.varint_u32()?, detail: get_text(input)? })
    }
}

impl PresenceSet {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.ch));
        put_option(out, self.payload.as_deref(), Writer::bytes);
    }

    pub(super) fn decode(input: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let ch = input.varint_u32()?;
        let payload = get_option(input, Reader::bytes)?.map(|bytes| frame.slice_ref(bytes));
        Ok(Self { ch, payload })
    }
}

impl PresenceState {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(u64::from(self.feed));
        out.u8(u8::from(self.full));
        out.len(self.entries.len());
        for entry in &self.entries {
            out.u64_le(entry.session);
            put_option(out, entry.principal.as_deref(), put_text);
            put_option(out, entry.payload.as_deref(), Writer::bytes);
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let feed = input.varint_u32()?;
        let full = get_bool(input)?;
        let count = input.count(10)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let session = input.u64_le()?;
            let principal = get_option(input, get_text)?;
            let payload = get_option(input, Reader::bytes)?.map(|bytes| frame.slice_ref(bytes));
            entries.push(PresenceEntry { session, principal, payload });
        }
        Ok(Self { feed, full, entries })
    }
}
