//! gzip (RFC 1952), decoded piece by piece as it arrives.
//!
//! `miniz_oxide` inflates; what is here is the frame around it: header, checksum, length, and members
//! that follow each other.

use alloc::boxed::Box;
use alloc::vec;

use bytes::{Buf as _, Bytes};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// How much is decoded at a time: what a bomb can take of memory before somebody looks.
const PIECE: usize = 16 * 1024;

/// How far back a distance can go (RFC 1951, 3.2.5).
const WINDOW: usize = 32 * 1024;

/// Where the output wraps around, distances that go back before the beginning of the data are not noticed.
const FLAGS: u32 = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;

/// What is wrong with a body that says it is gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GzipError {
    #[error("the body is not gzip")]
    Malformed,
    #[error("the gzip stream does not match its checksum")]
    Checksum,
    #[error("the gzip stream ends before its end")]
    Truncated,
}

/// A decoder. [`push`](Self::push) what arrived, then [`pull`](Self::pull) until there is no more.
pub(crate) struct Gunzip {
    input: Bytes,
    state: State,
    inflate: Box<DecompressorOxide>,
    /// A window and a piece: up to `at` the end of what this member has decoded to.
    output: Box<[u8]>,
    at: usize,
    /// Whether there was no room for all that can be decoded.
    more: bool,
    /// Of the header, then of the data.
    checksum: crc32fast::Hasher,
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a member yet. Here the stream may end, if there was one.
    Start {
        first: bool,
    },
    /// The ten bytes at the beginning.
    Fixed {
        at: u8,
        flags: u8,
    },
    /// Two bytes that say how many are to be skipped.
    ExtraLength {
        at: u8,
        length: u16,
        flags: u8,
    },
    Extra {
        left: u16,
        flags: u8,
    },
    /// Up to a zero.
    Text {
        flags: u8,
    },
    HeaderChecksum {
        at: u8,
        sum: u16,
        value: u16,
    },
    Data,
    /// Checksum and length, four bytes each.
    Trailer {
        at: u8,
        value: u64,
    },
}

const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self {
            input: Bytes::new(),
            state: State::Start { first: true },
            inflate: Box::default(),
            output: vec![0; WINDOW + PIECE].into(),
            at: 0,
            more: false,
            checksum: crc32fast::Hasher::new(),
            length: 0,
        }
    }

    /// More of the encoded body. What was pushed before must have been pulled.
    pub(crate) fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "what was pushed before is decoded");
        self.input = input;
    }

    /// The next decoded piece, `None` if more has to be pushed.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>, GzipError> {
        while !self.input.is_empty() || self.more {
            if self.state == State::Data {
                if let Some(piece) = self.data()? {
                    return Ok(Some(piece));
                }
            } else {
                let byte = self.input.get_u8();
                self.state = self.step(byte)?;
            }
        }
        Ok(None)
    }

    /// The encoded body has ended: was that its end?
    pub(crate) fn finish(&self) -> Result<(), GzipError> {
        match self.state {
            State::Start { .. } => Ok(()),
            _ => Err(GzipError::Truncated),
        }
    }

    /// What can be inflated now.
    fn data(&mut self) -> Result<Option<Bytes>, GzipError> {
        // Full: what no distance can reach goes.
        if self.at == self.output.len() {
            self.output.copy_within(PIECE.., 0);
            self.at = WINDOW;
        }
        let room = &mut self.output[..(WINDOW + PIECE).min(self.at + PIECE)];
        let (status, read, written) =
            decompress(&mut self.inflate, &self.input, room, self.at, FLAGS);
        self.input.advance(read);
        self.more = status == TINFLStatus::HasMoreOutput;
        match status {
            TINFLStatus::Done => self.state = State::Trailer { at: 0, value: 0 },
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => {}
            _ => return Err(GzipError::Malformed),
        }
        let piece = &self.output[self.at..self.at + written];
        self.at += written;
        self.checksum.update(piece);
        // Modulo 2^32, as the format has it.
        self.length = self.length.wrapping_add(piece.len() as u32);
        // A copy of its own: a small piece that is kept does not keep a large one.
        Ok((!piece.is_empty()).then(|| Bytes::copy_from_slice(piece)))
    }

    /// One byte of the frame.
    fn step(&mut self, byte: u8) -> Result<State, GzipError> {
        if !matches!(self.state, State::Trailer { .. } | State::HeaderChecksum { .. }) {
            self.checksum.update(&[byte]);
        }
        Ok(match self.state {
            State::Start { .. } if byte == 0x1f => State::Fixed { at: 1, flags: 0 },
            State::Fixed { at: 1, .. } if byte == 0x8b => State::Fixed { at: 2, flags: 0 },
            State::Fixed { at: 2, .. } if byte == 8 => State::Fixed { at: 3, flags: 0 },
            State::Fixed { at: 3, .. } if byte < 1 << 5 => State::Fixed { at: 4, flags: byte },
            // Time, level and system are of no interest.
            State::Fixed { at: 9, flags } => self.after_header(flags),
            State::Fixed { at: at @ 4..=8, flags } => State::Fixed { at: at + 1, flags },
            State::ExtraLength { at: 0, flags, .. } => {
                State::ExtraLength { at: 1, length: byte.into(), flags }
            }
            State::ExtraLength { length, flags, .. } => match length | u16::from(byte) << 8 {
                0 => self.after_header(flags),
                left => State::Extra { left, flags },
            },
            State::Extra { left: 1, flags } => self.after_header(flags),
            State::Extra { left, flags } => State::Extra { left: left - 1, flags },
            State::Text { flags } if byte == 0 => self.after_header(flags),
            State::Text { flags } => State::Text { flags },
            State::HeaderChecksum { at: 0, sum, .. } => {
                State::HeaderChecksum { at: 1, sum, value: byte.into() }
            }
            State::HeaderChecksum { sum, value, .. } => {
                if value | u16::from(byte) << 8 != sum {
                    return Err(GzipError::Checksum);
                }
                self.begin_data()
            }
            State::Trailer { at, value } => {
                let value = value | u64::from(byte) << (8 * at);
                if at < 7 {
                    return Ok(State::Trailer { at: at + 1, value });
                }
                let sum = core::mem::take(&mut self.checksum).finalize();
                if value != u64::from(sum) | u64::from(self.length) << 32 {
                    return Err(GzipError::Checksum);
                }
                State::Start { first: false }
            }
            State::Start { .. } | State::Fixed { .. } | State::Data => {
                return Err(GzipError::Malformed);
            }
        })
    }

    /// The part of the header that comes next, by the flags that are left.
    fn after_header(&mut self, flags: u8) -> State {
        if flags & EXTRA != 0 {
            State::ExtraLength { at: 0, length: 0, flags: flags & !EXTRA }
        } else if flags & NAME != 0 {
            State::Text { flags: flags & !NAME }
        } else if flags & COMMENT != 0 {
            State::Text { flags: flags & !COMMENT }
        } else if flags & HEADER_CHECKSUM != 0 {
            // The lower half of the header's checksum.
            let sum = self.checksum.clone().finalize() as u16;
            State::HeaderChecksum { at: 0, sum, value: 0 }
        } else {
            self.begin_data()
        }
    }

    fn begin_data(&mut self) -> State {
        self.checksum = crc32fast::Hasher::new();
        self.length = 0;
        self.inflate.init();
        self.at = 0;
        State::Data
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    fn member(data: &[u8], flags: u8, between: &[u8]) -> Vec<u8> {
        framed(data, &compress_to_vec(data, 6), flags, between)
    }

    fn framed(data: &[u8], deflated: &[u8], flags: u8, between: &[u8]) -> Vec<u8> {
        let mut all = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
        all.extend_from_slice(between);
        if flags & HEADER_CHECKSUM != 0 {
            all.extend_from_slice(&(crc32fast::hash(&all) as u16).to_le_bytes());
        }
        all.extend_from_slice(deflated);
        all.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
        all.extend_from_slice(&(data.len() as u32).to_le_bytes());
        all
    }

    /// A member of `stored` as it is, then of `times` matches of 258 bytes at this distance, by the fixed
    /// codes (RFC 1951, 3.2.6). What is before the beginning of the data is zeros.
    fn matches(stored: &[u8], distance: usize, times: usize) -> Vec<u8> {
        let mut data = stored.to_vec();
        for _ in 0..258 * times {
            data.push(data.len().checked_sub(distance).map_or(0, |at| data[at]));
        }
        let length = stored.len() as u16;
        let mut deflated = vec![0];
        deflated.extend_from_slice(&length.to_le_bytes());
        deflated.extend_from_slice(&(!length).to_le_bytes());
        deflated.extend_from_slice(stored);

        // Which of the codes it is, the first distance of that code, and how many bits say the rest.
        let (mut code, mut first, mut extra) = (0, 1, 0);
        while first + (1 << extra) <= distance {
            first += 1 << extra;
            code += 1;
            extra = if code < 4 { 0 } else { code / 2 - 1 };
        }
        let mut bits = vec![true, true, false];
        for _ in 0..times {
            bits.extend((0..8).rev().map(|at| 0b1100_0101 >> at & 1 == 1));
            bits.extend((0..5).rev().map(|at| code >> at & 1 == 1));
            bits.extend((0..extra).map(|at| (distance - first) >> at & 1 == 1));
        }
        bits.extend([false; 7]);
        let byte =
            |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        deflated.extend(bits.chunks(8).map(byte));
        framed(&data, &deflated, 0, b"")
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(2);
        (0..length).map(|_| rng.u8(1..)).collect()
    }

    fn decode(encoded: &[u8], step: usize) -> Result<Vec<u8>, GzipError> {
        let mut gunzip = Gunzip::new();
        let mut all = Vec::new();
        for piece in encoded.chunks(step) {
            gunzip.push(Bytes::copy_from_slice(piece));
            while let Some(decoded) = gunzip.pull()? {
                assert!(decoded.len() <= PIECE, "a piece is bounded");
                all.extend_from_slice(&decoded);
            }
        }
        gunzip.finish()?;
        Ok(all)
    }

    fn text() -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(1);
        (0..100_000).map(|_| rng.u8(b'a'..b'h')).collect()
    }

    #[test]
    fn it_decodes_whatever_the_pieces_and_the_header_are() {
        let text = text();
        let every = NAME | COMMENT | EXTRA | HEADER_CHECKSUM;
        let headers: [(u8, &[u8]); 5] = [
            (0, b""),
            (NAME, b"name\0"),
            (EXTRA, b"\x03\0abc"),
            (EXTRA, b"\0\0"),
            (every, b"\x01\0xname\0comment\0"),
        ];
        for (flags, between) in headers {
            let encoded = member(&text, flags, between);
            for step in [1, 7, 1_000, encoded.len()] {
                assert_eq!(decode(&encoded, step).as_deref(), Ok(&*text), "{flags} {step}");
            }
        }
        assert_eq!(decode(&member(b"", 0, b""), 3).as_deref(), Ok(&b""[..]));
        assert_eq!(decode(b"", 1).as_deref(), Ok(&b""[..]), "no body at all");
    }

    #[test]
    fn members_follow_each_other() {
        let mut encoded = member(b"one ", 0, b"");
        encoded.extend(member(b"two", NAME, b"n\0"));
        for step in [1, 100] {
            assert_eq!(decode(&encoded, step).as_deref(), Ok(&b"one two"[..]));
        }
        encoded.extend(b"garbage");
        assert_eq!(decode(&encoded, 5), Err(GzipError::Malformed));
    }

    #[test]
    fn an_end_at_any_byte_but_the_last_is_noticed() {
        let encoded = member(b"hello hello hello", EXTRA | HEADER_CHECKSUM, b"\x01\0x");
        for end in 1..encoded.len() {
            assert_eq!(decode(&encoded[..end], 4), Err(GzipError::Truncated), "{end}");
        }
    }

    #[test]
    fn a_changed_byte_never_goes_through_as_another_body() {
        let encoded = member(b"hello hello hello", HEADER_CHECKSUM, b"");
        for at in 0..encoded.len() {
            for bit in 0..8 {
                let mut changed = encoded.clone();
                changed[at] ^= 1 << bit;
                if let Ok(decoded) = decode(&changed, 64) {
                    assert_eq!(decoded, b"hello hello hello", "byte {at} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_only_begins_like_gzip_is_not_gzip() {
        let mut encoded = member(b"hello", 0, b"");
        encoded[1] ^= 1;
        assert_eq!(decode(&encoded, 64), Err(GzipError::Malformed));
    }

    #[test]
    fn a_bomb_comes_out_in_bounded_pieces() {
        let encoded = member(&vec![0; 50_000_000], 0, b"");
        assert!(encoded.len() < 100_000);
        assert_eq!(decode(&encoded, encoded.len()).map(|all| all.len()), Ok(50_000_000));
    }

    #[test]
    fn what_is_far_back_is_found_however_long_the_body_is() {
        let block = noise(32_768);
        let data = block[..32_000].repeat(8);
        let farthest = matches(&block, 32_768, 800);
        let all = block.iter().copied().cycle().take(32_768 + 258 * 800).collect::<Vec<_>>();
        for (encoded, data) in [(member(&data, 0, b""), data), (farthest, all)] {
            assert!(data.len() > 200_000 && encoded.len() < 45_000, "{}", encoded.len());
            let twice = [&encoded[..], &encoded].concat();
            for step in [1, 7, 1_000, 33_000, twice.len()] {
                assert!(decode(&twice, step).is_ok_and(|all| all == data.repeat(2)), "{step}");
            }
        }
    }

    /// Found by fuzzing: there were zeros.
    #[test]
    fn nothing_is_before_the_beginning_of_a_member() {
        let zeros = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\x02\0\x12\xd9\x41\xff\x03\0\0\0";
        for step in [1, zeros.len()] {
            assert_eq!(decode(zeros, step), Err(GzipError::Malformed));
            // Nor is it what the member before it left.
            let second = [&member(&noise(50_000), 0, b""), &zeros[..]].concat();
            assert_eq!(decode(&second, step), Err(GzipError::Malformed));
        }
        for length in [1, 2, 300, 16_384, 32_767] {
            let stored = noise(length);
            let first = matches(&stored, length, 1);
            assert!(decode(&first, 1_000).is_ok_and(|all| all.len() == length + 258), "{length}");
            let before = matches(&stored, length + 1, 1);
            assert_eq!(decode(&before, 1_000), Err(GzipError::Malformed), "{length}");
        }
    }
}
