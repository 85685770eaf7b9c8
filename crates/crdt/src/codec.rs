//! Bytes in and out: a bounds-checked reader and an append-only writer.
//!
//! Integers are unsigned LEB128 varints of at most ten bytes, signed ones zigzag first. Every count
//! read from the wire is checked against the bytes that remain before anything is allocated.

use xxhash_rust::xxh64::xxh64;

use crate::graph::Lv;

/// Why bytes could not be decoded. Nothing was changed by the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("input ends inside a field")]
    UnexpectedEnd,
    /// A varint is longer than it need be, or larger than its field allows.
    #[error("integer out of range")]
    IntegerRange,
    /// A string is not UTF-8.
    #[error("text is not utf-8")]
    Utf8,
    /// A count claims more items than the remaining bytes could hold.
    #[error("count exceeds the input")]
    CountExceedsInput,
    /// Values are nested deeper than [`crate::MAX_NESTING`].
    #[error("values nested too deeply")]
    TooDeep,
    /// The bytes do not match their checksum.
    #[error("checksum mismatch")]
    Checksum,
    /// The format version is newer than this program understands.
    #[error("unsupported format version {0}")]
    UnsupportedVersion(u8),
    /// The input does not start with the expected magic bytes.
    #[error("not leptos-sync data")]
    Magic,
    /// A field holds a value that its type forbids; the text names the field.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The snapshot's history was trimmed: see [`crate::Doc::from_shallow_snapshot`].
    #[error("the snapshot has no history before its base")]
    Shallow,
    /// Bytes remain after the last field.
    #[error("trailing bytes")]
    TrailingBytes,
}

/// What tells whether part of a file is damaged: the lower half of its xxHash64.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    xxh64(bytes, 0) as u32
}

/// A number without sign for one with, small for those near 0.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// What [`zigzag`] was given.
pub(crate) fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

/// Reads fields from a byte slice, never past its end. After an error nothing remains.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: Input<'a>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { input: Input::new(bytes) }
    }

    /// Reads something and says whether that went well.
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Input<'a>) -> T,
    ) -> Result<T, DecodeError> {
        let value = read(&mut self.input);
        self.input.result().map(|()| value)
    }

    /// What reads it as if all went well.
    pub(crate) fn input(&mut self) -> &mut Input<'a> {
        &mut self.input
    }

    /// How many bytes remain.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.input.remaining()
    }

    /// Whether nothing remains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] if nothing remains.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.read(Input::u8)
    }

    /// Reads exactly `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] if fewer remain.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        self.read(|input| input.take(len))
    }

    /// Reads a fixed four-byte little-endian integer.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] if fewer than four bytes remain.
    pub fn u32_le(&mut self) -> Result<u32, DecodeError> {
        self.read(Input::u32_le)
    }

    /// Reads a fixed eight-byte little-endian integer.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedEnd`] if fewer than eight bytes remain.
    pub fn u64_le(&mut self) -> Result<u64, DecodeError> {
        self.read(Input::u64_le)
    }

    /// Reads an unsigned varint.
    ///
    /// # Errors
    /// [`DecodeError::IntegerRange`] past 64 bits, [`DecodeError::UnexpectedEnd`] if cut short.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        self.read(Input::varint)
    }

    /// Reads an unsigned varint that must fit in 32 bits.
    ///
    /// # Errors
    /// As [`Reader::varint`], and [`DecodeError::IntegerRange`] past 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        self.read(Input::varint_u32)
    }

    /// Reads a zigzag-coded signed varint.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn varint_i64(&mut self) -> Result<i64, DecodeError> {
        self.read(Input::varint_i64)
    }

    /// Reads a count of items that take at least `item_bytes_min` bytes each.
    ///
    /// # Errors
    /// As [`Reader::varint`], and [`DecodeError::CountExceedsInput`] if they cannot fit.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        self.read(|input| input.count(item_bytes_min))
    }

    /// Reads length-prefixed bytes.
    ///
    /// # Errors
    /// As [`Reader::count`].
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        self.read(Input::bytes)
    }

    /// Reads length-prefixed UTF-8.
    ///
    /// # Errors
    /// As [`Reader::bytes`], and [`DecodeError::Utf8`].
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        self.read(Input::str)
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] if not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        self.input.finish()
    }
}

/// Reads fields from a byte slice and keeps the first error: after that nothing remains, and what
/// is read is zero or empty. So each part of a file is read as if all went well, and whoever asked
/// for the whole asks for the error once, before anything is made of what was read. Loops are over
/// [`Input::count`], or look at [`Input::is_sound`].
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    error: Option<DecodeError>,
    keeps: bool,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, error: None, keeps: true }
    }

    /// Bytes that are read to see whether they are sound: of lists nothing has to be kept.
    pub(crate) fn dry(bytes: &'a [u8]) -> Self {
        Self { keeps: false, ..Self::new(bytes) }
    }

    /// Whether what is read is wanted.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was read since this was a copy of it.
    pub(crate) fn read_since(&self, copy: &Self) -> &'a [u8] {
        &copy.bytes[..copy.bytes.len() - self.bytes.len()]
    }

    /// Keeps the error, if it is the first.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
        self.bytes = &[];
    }

    #[cold]
    #[inline(never)]
    fn fail_at(&mut self, field: &'static str) {
        self.fail(DecodeError::Invalid(field));
    }

    /// Keeps that the field of this name is invalid, and returns what stands for its value.
    pub(crate) fn refuse<T: Default>(&mut self, field: &'static str) -> T {
        self.fail_at(field);
        T::default()
    }

    /// The value of the field of this name, which is invalid if there is none.
    pub(crate) fn some<T: Default>(&mut self, value: Option<T>, field: &'static str) -> T {
        match value {
            Some(value) => value,
            None => self.refuse(field),
        }
    }

    /// Refuses the field of this name unless it is sound.
    pub(crate) fn ensure(&mut self, is_sound: bool, field: &'static str) {
        if !is_sound {
            self.fail_at(field);
        }
    }

    /// Keeps the error of a part that was read on its own.
    pub(crate) fn join(&mut self, part: &Input<'_>) {
        if let Some(error) = part.error {
            self.fail(error);
        }
    }

    /// The same of a part of which nothing may be left.
    #[inline(never)]
    pub(crate) fn join_whole(&mut self, mut part: Input<'_>) {
        if !part.is_empty() {
            part.fail(DecodeError::TrailingBytes);
        }
        self.join(&part);
    }

    /// Whether there was no error so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.error.is_none()
    }

    /// The first error.
    pub(crate) fn result(&self) -> Result<(), DecodeError> {
        self.error.map_or(Ok(()), Err)
    }

    /// The first error, which may be that not everything was read.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        self.result()?;
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            self.fail(DecodeError::UnexpectedEnd);
            return 0;
        };
        self.bytes = rest;
        first
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            self.fail(DecodeError::UnexpectedEnd);
            return &[];
        };
        self.bytes = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    pub(crate) fn u32_le(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64_le(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn out_of_range<T: Default>(&mut self) -> T {
        self.fail(DecodeError::IntegerRange);
        T::default()
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> u64 {
        match self.bytes.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.bytes = rest;
                byte.into()
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> u64 {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8();
            let bits = u64::from(byte & 0x7f);
            // A last byte of zero says nothing: each number has one encoding.
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        self.out_of_range()
    }

    pub(crate) fn varint_u32(&mut self) -> u32 {
        u32::try_from(self.varint()).unwrap_or_else(|_| self.out_of_range())
    }

    pub(crate) fn varint_usize(&mut self) -> usize {
        usize::try_from(self.varint()).unwrap_or_else(|_| self.out_of_range())
    }

    pub(crate) fn varint_i64(&mut self) -> i64 {
        unzigzag(self.varint())
    }

    /// A local version below `end`.
    pub(crate) fn varint_below(&mut self, end: Lv) -> Lv {
        let lv = self.varint();
        self.below(end, lv)
    }

    /// The number as a local version below `end`.
    pub(crate) fn below(&mut self, end: Lv, lv: u64) -> Lv {
        let lv = Lv::try_from(lv).ok().filter(|lv| *lv < end);
        self.some(lv, "local version")
    }

    /// A count of items that take at least `item_bytes_min` bytes each.
    pub(crate) fn count(&mut self, item_bytes_min: usize) -> usize {
        let count = self.varint_usize();
        match count.checked_mul(item_bytes_min.max(1)) {
            Some(bytes) if bytes <= self.bytes.len() => count,
            _ => {
                self.fail(DecodeError::CountExceedsInput);
                0
            }
        }
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = self.count(1);
        self.take(len)
    }

    pub(crate) fn str(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_else(|_| {
            self.fail(DecodeError::Utf8);
            ""
        })
    }
}

/// Appends fields to a growing byte vector.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a fixed four-byte little-endian integer.
    pub fn u32_le(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends a fixed eight-byte little-endian integer.
    pub fn u64_le(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends an unsigned varint.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Appends a length or count as a varint.
    pub fn len(&mut self, value: usize) {
        self.varint(value as u64);
    }

    /// Appends a zigzag-coded signed varint.
    pub fn varint_i64(&mut self, value: i64) {
        self.varint(zigzag(value));
    }

    /// Appends length-prefixed bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.raw(bytes);
    }

    /// Appends length-prefixed UTF-8.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Puts the length of what was written from `start` on before it.
    pub(crate) fn prefix_len(&mut self, start: usize) {
        let end = self.bytes.len();
        let mut len = Self::new();
        len.len(end - start);
        // In place: what was written may be all of a large file.
        self.raw(len.as_slice());
        self.bytes.copy_within(start..end, start + len.bytes.len());
        self.bytes[start..][..len.bytes.len()].copy_from_slice(len.as_slice());
    }

    /// Makes room for so many bytes more.
    pub(crate) fn reserve(&mut self, len: usize) {
        self.bytes.reserve_exact(len);
    }

    /// Gives back the room that is not used.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// A writer that goes on after these bytes.
    pub(crate) fn from_vec(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Drops what was written after so many bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// What was written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The written bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}
