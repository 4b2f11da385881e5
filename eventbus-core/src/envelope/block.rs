//! Memory that small encoded envelopes share.
//!
//! Whoever takes a verdict frees what it was about, mostly on another thread than that of the
//! publisher. Memory that goes from thread to thread is dear, so there is a block of it for many.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// What a block holds. It is kept for as long as one of the envelopes in it is.
const BLOCK: usize = 8 << 10;
/// Larger ones have memory of their own, since they would be few in a block.
const MOST: usize = BLOCK / 4;

thread_local! {
    /// What is left of the last block of this thread.
    static REST: Cell<BytesMut> = Cell::new(BytesMut::with_capacity(BLOCK));
}

/// The `len` bytes that `write` appends, in memory of their own.
pub(super) fn own(len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut own = BytesMut::with_capacity(len);
    write(&mut own);
    own.freeze()
}

/// The `len` bytes that `write` appends, in a block if they are few.
pub(super) fn shared(len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    if len > MOST {
        return own(len, write);
    }
    // None in a thread that is ending.
    let mut block = REST.try_with(Cell::take).unwrap_or_default();
    // The same memory again, if nothing of it is kept, or else as much anew.
    block.reserve(len);
    write(&mut block);
    let bytes = block.split().freeze();
    let _ = REST.try_with(|rest| rest.set(block));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(byte: u8, len: usize) -> Bytes {
        shared(len, |out| out.extend_from_slice(&vec![byte; len]))
    }

    #[test]
    fn small_ones_lie_side_by_side_and_stay_what_they_are() {
        let all: Vec<_> = (0..100).map(|byte| of(byte, 300)).collect();
        for (byte, bytes) in (0..).zip(&all) {
            assert_eq!(bytes[..], vec![byte; 300][..]);
        }
        let follows = |pair: &&[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        let blocks = all.len() - all.windows(2).filter(follows).count();
        // 27 fit into one.
        assert!((4..=5).contains(&blocks), "{blocks} blocks");
    }

    #[test]
    fn a_block_of_which_nothing_is_kept_is_used_again() {
        let kept = of(1, 100);
        let starts: std::collections::HashSet<_> =
            (0..1000).map(|_| of(2, 1000).as_ptr()).collect();
        assert!(starts.len() <= 2 * BLOCK / 1000, "{} places", starts.len());
        assert_eq!(kept[..], [1; 100][..]);
    }

    #[test]
    fn large_ones_are_alone() {
        let (before, large, after) = (of(1, 10), of(2, MOST + 1), of(3, 10));
        assert_eq!(before.as_ptr_range().end, after.as_ptr());
        assert_eq!(large[..], [2; MOST + 1][..]);
    }
}
