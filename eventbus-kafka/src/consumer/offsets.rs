//! What a commit says beyond its offset: which messages behind it are settled already, and
//! how many attempts the others had. It stands in the commit's metadata.

use data_encoding::BASE64URL_NOPAD;

/// What the text starts with; the number is the version.
const MARK: &str = "eb1.";
/// Brokers take 4096 bytes (`offset.metadata.max.bytes`).
const MOST_TEXT: usize = 4096;
const MOST_BYTES: usize = (MOST_TEXT - MARK.len()) / 4 * 3;

/// More attempts are no text of ours: a few bytes can stand for any number of them.
const MOST_ATTEMPTS: u64 = 1 << 20;

/// Offsets `start..end`.
pub(crate) type Range = std::ops::Range<i64>;

/// The state of a partition beyond the committed offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Settled, ascending, without touching each other.
    pub(crate) settled: Vec<Range>,
    /// Which attempt comes next, by offset, ascending; those that have had none are left out.
    pub(crate) attempts: Vec<(i64, u32)>,
}

/// A [`Progress`] as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Settled offsets up to here are in it.
    pub(crate) covered: i64,
    /// How many offsets are settled and did not fit: they are delivered again.
    pub(crate) left_out: u64,
}

impl Progress {
    /// Writes as much as fits: ranges first, because each is worth many messages.
    pub(crate) fn encode(&self, committed: i64) -> Text {
        let mut bytes = Vec::new();
        let mut at = committed;
        let mut left_out = 0;
        let mut runs = 0_u64;
        for range in &self.settled {
            let len = bytes.len();
            put(&mut bytes, distance(at, range.start));
            put(&mut bytes, distance(range.start, range.end));
            // Room for the number of runs.
            if bytes.len() + 10 > MOST_BYTES || left_out > 0 {
                bytes.truncate(len);
                left_out += distance(range.start, range.end);
            } else {
                at = range.end;
                runs += 1;
            }
        }
        let mut all = Vec::with_capacity(bytes.len() + 10);
        put(&mut all, runs);
        all.extend_from_slice(&bytes);
        let mut before = committed;
        for run in self.attempts.chunk_by(|a, b| a.0 + 1 == b.0 && a.1 == b.1) {
            let (len, (offset, attempt)) = (all.len(), run[0]);
            put(&mut all, distance(before, offset));
            put(&mut all, run.len() as u64);
            put(&mut all, u64::from(attempt));
            if all.len() > MOST_BYTES {
                all.truncate(len);
                break;
            }
            before = offset + run.len() as i64;
        }
        let text = if runs == 0 && all.len() == 1 {
            String::new()
        } else {
            format!("{MARK}{}", BASE64URL_NOPAD.encode(&all))
        };
        Text { text, covered: at, left_out }
    }

    /// Reads what [`encode`](Self::encode) wrote; nothing for text of other programs.
    pub(crate) fn decode(text: &str, committed: i64) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.strip_prefix(MARK)?.as_bytes()).ok()?;
        let mut rest = bytes.as_slice();
        let mut progress = Self::default();
        let mut at = committed;
        for _ in 0..take(&mut rest)? {
            let start = ahead(at, take(&mut rest)?)?;
            let end = ahead(start, take(&mut rest)?)?;
            progress.settled.push(start..end);
            at = end;
        }
        let (mut before, mut left) = (committed, MOST_ATTEMPTS);
        while !rest.is_empty() {
            let offset = ahead(before, take(&mut rest)?)?;
            let run = take(&mut rest)?;
            let attempt = u32::try_from(take(&mut rest)?).ok()?;
            left = left.checked_sub(run)?;
            before = ahead(offset, run)?;
            progress.attempts.extend((offset..before).map(|offset| (offset, attempt)));
        }
        Some(progress)
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or_default()
}

fn ahead(from: i64, by: u64) -> Option<i64> {
    from.checked_add(i64::try_from(by).ok()?)
}

/// Appends a number, seven bits a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_round_trip() {
        for progress in [
            Progress::default(),
            Progress { settled: vec![12..20, 21..22], attempts: vec![] },
            Progress { settled: vec![], attempts: vec![(10, 2), (11, 2), (12, 3), (400, 70_000)] },
            Progress { settled: vec![11..21, 30..5_000_000_000], attempts: vec![(10, 3)] },
        ] {
            let text = progress.encode(10);
            assert_eq!(text.left_out, 0);
            if progress == Progress::default() {
                assert_eq!(text.text, "");
            } else {
                assert_eq!(Progress::decode(&text.text, 10), Some(progress));
            }
        }
    }

    #[test]
    fn a_full_window_in_the_worst_order_fits() {
        let settled = (0..1025).map(|n| n * 90 + 1..n * 90 + 80).collect();
        let text = Progress { settled, attempts: vec![] }.encode(0);
        assert_eq!(text.left_out, 0);
        assert!(text.text.len() <= MOST_TEXT);
    }

    #[test]
    fn overflow_leaves_out_the_end_and_counts_it() {
        let settled = (0..5000).map(|n| n * 1000 + 1..n * 1000 + 3).collect::<Vec<_>>();
        let attempts = vec![(0, 2)];
        let text = Progress { settled: settled.clone(), attempts }.encode(0);
        assert!(text.text.len() <= MOST_TEXT);
        let read = Progress::decode(&text.text, 0).unwrap();
        assert!(settled.starts_with(&read.settled));
        assert_eq!(text.covered, read.settled.last().unwrap().end);
        assert_eq!(text.left_out, 2 * (5000 - read.settled.len() as u64));
        assert_eq!(read.attempts, [(0, 2)]);
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_gigabytes() {
        let mut bytes = vec![0];
        for _ in 0..100 {
            put(&mut bytes, 0);
            put(&mut bytes, MOST_ATTEMPTS / 50);
            put(&mut bytes, 2);
        }
        let text = format!("{MARK}{}", BASE64URL_NOPAD.encode(&bytes));
        assert_eq!(Progress::decode(&text, 0), None);
    }

    fn progress() -> impl Strategy<Value = (i64, Progress)> {
        let settled = prop::collection::vec((1..50_i64, 1..50_i64), 0..40);
        let attempts = prop::collection::vec((1..9_i64, 2..5_u32), 0..20);
        (0..1_i64 << 40, settled, attempts).prop_map(|(committed, settled, attempts)| {
            let mut at = committed;
            let settled = settled.into_iter().map(|(gap, len)| {
                at += gap + len;
                at - len..at
            });
            let settled = settled.collect();
            let mut at = committed;
            let attempts = attempts.into_iter().map(|(gap, attempt)| {
                at += gap;
                (at, attempt)
            });
            (committed, Progress { settled, attempts: attempts.collect() })
        })
    }

    proptest! {
        #[test]
        fn what_fits_comes_back((committed, progress) in progress()) {
            let text = progress.encode(committed);
            prop_assert_eq!(text.left_out, 0);
            match text.text.is_empty() {
                true => prop_assert_eq!(progress, Progress::default()),
                false => prop_assert_eq!(Progress::decode(&text.text, committed), Some(progress)),
            }
        }

        #[test]
        fn any_text_is_survived(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..80), committed: i64) {
            let marked = format!("{MARK}{}", BASE64URL_NOPAD.encode(&bytes));
            for text in [text, marked] {
                let Some(progress) = Progress::decode(&text, committed) else { continue };
                let ends = progress.settled.iter().flat_map(|range| [range.start, range.end]);
                prop_assert!(ends.is_sorted());
                prop_assert!(progress.attempts.is_sorted_by_key(|(offset, _)| *offset));
            }
        }
    }

    #[test]
    fn foreign_and_broken_text_is_ignored() {
        for text in
            ["", "hello", "eb1.", "eb1.!", "eb1.____", "eb1.AAD_____Dwk", "eb2.AA", "eb1._w"]
        {
            assert_eq!(Progress::decode(text, 0), None, "{text}");
        }
    }
}
