//! The memory of the small messages of a topic.

use bytes::{Bytes, BytesMut};

/// What a block holds.
const BLOCK: usize = 8 << 10;
/// Larger messages stay in the memory in which they come.
const MOST: usize = BLOCK / 4;

/// Blocks of memory that small messages share. Their bytes come in blocks that they share with
/// messages of other topics, which go sooner or later than they do; those of one topic go in
/// their order.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// What is left of the last one.
    rest: BytesMut,
}

impl Blocks {
    /// Copies a small message to where it is kept. A new block is as large as all that is
    /// `kept` already, so that a topic with few messages stays small.
    pub(crate) fn pack(&mut self, encoded: Bytes, kept: usize) -> Bytes {
        let len = encoded.len();
        if len > MOST {
            return encoded;
        }
        if self.rest.capacity() < len {
            self.rest = BytesMut::with_capacity(kept.clamp(len, BLOCK));
        }
        self.rest.extend_from_slice(&encoded);
        self.rest.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_blocks_that_grow() {
        let mut blocks = Blocks::default();
        let came: Vec<Bytes> = (0..100).map(|byte| vec![byte; 300].into()).collect();
        let pack = |(at, message): (usize, &Bytes)| blocks.pack(message.clone(), at * 300);
        let kept: Vec<Bytes> = came.iter().enumerate().map(pack).collect();
        assert_eq!(kept, came);
        assert!(kept.iter().zip(&came).all(|(kept, came)| kept.as_ptr() != came.as_ptr()));
        let follows = |pair: &&[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        // 1, 1, 2, 4, 8 and 16 of them, and then 27 each.
        assert_eq!(kept.len() - kept.windows(2).filter(follows).count(), 9);
    }

    #[test]
    fn large_messages_are_not_copied() {
        let mut blocks = Blocks::default();
        let large = Bytes::from(vec![0; MOST + 1]);
        assert_eq!(blocks.pack(large.clone(), 0).as_ptr(), large.as_ptr());
        let small = large.slice(1..);
        assert_ne!(blocks.pack(small.clone(), 0).as_ptr(), small.as_ptr());
    }
}
