//! The bytes of heads on a connection of HTTP/2, counted as they come.
//!
//! hyper skips any number of informational answers there, without a word. So heads are bounded here:
//! those that came since an exchange last got one, to `head_limit` for every exchange that is open.

/// The kinds of frame that carry heads (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// A frame's own head.
const FRAME_HEAD: usize = 9;

/// Where in the stream of frames the bytes are.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    head: [u8; FRAME_HEAD],
    known: usize,
    /// What is left of the frame's payload.
    left: usize,
}

impl Heads {
    /// Takes the next bytes: how many of them belong to heads.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut heads = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(FRAME_HEAD - self.known);
                self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
                self.known += taken;
                bytes = &bytes[taken..];
                if self.known < FRAME_HEAD {
                    break;
                }
                self.known = 0;
                let [a, b, c, kind, ..] = self.head;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if matches!(kind, HEADERS | CONTINUATION) {
                    // The frame's own head too, or frames without a payload would cost nothing.
                    heads += FRAME_HEAD;
                }
            }
            let taken = bytes.len().min(self.left);
            if matches!(self.head[3], HEADERS | CONTINUATION) {
                heads += taken;
            }
            self.left -= taken;
            bytes = &bytes[taken..];
        }
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(kind, usize::from(length)));
        frame
    }

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        let frames = [(0, 20), (HEADERS, 7), (6, 8), (CONTINUATION, 0), (HEADERS, 1), (0, 0)];
        let bytes: Vec<u8> =
            frames.iter().flat_map(|&(kind, length)| frame(kind, length)).collect();
        for size in 1..=bytes.len() {
            let mut heads = Heads::default();
            let counted: usize = bytes.chunks(size).map(|piece| heads.count(piece)).sum();
            assert_eq!(counted, 3 * FRAME_HEAD + 7 + 1, "in pieces of {size}");
        }
    }
}
