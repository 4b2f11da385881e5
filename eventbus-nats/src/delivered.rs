//! A message as a consumer delivers it.

use std::time::{Duration, SystemTime};

use async_nats::Message;

/// What the reply subject of a delivered message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    /// How often it was delivered, this time included.
    pub(crate) delivered: u32,
    pub(crate) stream_sequence: u64,
    pub(crate) consumer_sequence: u64,
    pub(crate) published_at: SystemTime,
}

impl<'a> Origin<'a> {
    /// Reads the reply subject: `$JS.ACK`, domain and account (not from old servers), stream,
    /// consumer, deliveries, stream and consumer sequence, time, pending.
    pub(crate) fn of(message: &'a Message) -> Option<Self> {
        Self::parse(message.reply.as_ref()?)
    }

    pub(crate) fn parse(reply: &'a str) -> Option<Self> {
        let mut tokens = [""; 9];
        let mut count = 0;
        for (place, token) in tokens.iter_mut().zip(reply.strip_prefix("$JS.ACK.")?.split('.')) {
            *place = token;
            count += 1;
        }
        let own = if count == tokens.len() { &tokens[2..] } else { &tokens[..count] };
        let [stream, consumer, delivered, stream_sequence, consumer_sequence, nanos, ..] = *own
        else {
            return None;
        };
        let delivered = delivered.parse().ok()?;
        let stream_sequence = stream_sequence.parse().ok()?;
        let consumer_sequence = consumer_sequence.parse().ok()?;
        let nanos = nanos.parse().ok()?;
        let published_at = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        Some(Self { stream, consumer, delivered, stream_sequence, consumer_sequence, published_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let expected = Origin {
            stream: "S",
            consumer: "c",
            delivered: 2,
            stream_sequence: 30,
            consumer_sequence: 4,
            published_at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_000),
        };
        let old = "$JS.ACK.S.c.2.30.4.1500000000.7";
        let new = "$JS.ACK._.hash.S.c.2.30.4.1500000000.7.random";
        assert_eq!(Origin::parse(old).as_ref(), Some(&expected));
        assert_eq!(Origin::parse(new), Some(expected));
        assert_eq!(Origin::parse("$JS.ACK.S.c.x.30.4.1500000000.7"), None);
        assert_eq!(Origin::parse("_INBOX.x"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_reply_subject_is_survived(tail in "[a-z0-9.-]{0,60}", free in ".{0,60}") {
            let _ = Origin::parse(&format!("$JS.ACK.{tail}"));
            let _ = Origin::parse(&free);
        }

        #[test]
        fn numbers_come_back(delivered: u32, stream: u64, consumer: u64, nanos: u64) {
            let reply = format!("$JS.ACK.S.c.{delivered}.{stream}.{consumer}.{nanos}.0");
            let origin = Origin::parse(&reply);
            let origin = origin.map(|o| (o.delivered, o.stream_sequence, o.consumer_sequence));
            proptest::prop_assert_eq!(origin, Some((delivered, stream, consumer)));
        }
    }
}
