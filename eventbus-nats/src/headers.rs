//! Headers: which names they may have, and those that the client cannot read.

use async_nats::header::HeaderName;
use bytes::Bytes;
use eventbus_core::backend::RawMessage;

/// What the names of the headers begin with that are instructions to the server.
const SERVERS_OWN: &str = "nats-";

/// Whether a header may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Whether a header of this name is an instruction to the server.
pub(crate) fn is_servers_own(name: &str) -> bool {
    let start = name.as_bytes().get(..SERVERS_OWN.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(SERVERS_OWN.as_bytes()))
}

/// Whether the client reads these headers.
pub(crate) fn is_readable(headers: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(headers) else { return false };
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return true };
    if version.strip_prefix("NATS/1.0").is_none_or(|status| !status.trim().is_empty()) {
        return false;
    }
    // What begins with a space goes on from the line before.
    let mut continues = false;
    lines.all(|line| {
        if line.is_empty() || (continues && line.starts_with(char::is_whitespace)) {
            continues = !line.is_empty() && continues;
            return true;
        }
        continues = true;
        line.split_once(':').is_some_and(|(name, _)| name.parse::<HeaderName>().is_ok())
    })
}

/// Takes a message apart as far as that goes. What is no header has a value that is no text, so
/// that the message is reported as undecodable.
pub(crate) fn read(headers: &[u8], payload: Bytes, key_header: &str) -> RawMessage {
    let mut message = RawMessage::new(payload);
    let lines = headers.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for (number, line) in lines.enumerate() {
        let parts = line.iter().position(|byte| *byte == b':').map(|at| line.split_at(at));
        let name = parts.and_then(|(name, _)| str::from_utf8(name).ok());
        match (name.filter(|name| is_name(name)), parts) {
            (Some(name), Some((_, value))) if !is_servers_own(name) => {
                let value = Bytes::copy_from_slice(value[1..].trim_ascii());
                if name == key_header {
                    message.key = Some(value);
                } else {
                    message.headers.push((name.to_owned(), value));
                }
            }
            (Some(_), _) => {}
            _ if line.is_empty() || (number == 0 && line == b"NATS/1.0") => {}
            _ => message.headers.push((NO_HEADER.to_owned(), Bytes::from_static(b"\xff"))),
        }
    }
    message
}

/// The name that stands for a line that is no header.
const NO_HEADER: &str = "a line that is no header";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_headers_are_told_apart() {
        for readable in ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\nA: b:c\r\n d\r\n: no name\r\n\r\n"] {
            assert!(is_readable(readable.as_bytes()), "{readable:?}");
        }
        let unreadable: [&[u8]; 5] = [
            b"NATS/1.0\r\nA: \xff\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na name: x\r\n\r\n",
            b"NATS/1.0 nothing\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
        ];
        for headers in unreadable {
            assert!(!is_readable(headers), "{headers:?}");
        }
    }

    #[test]
    fn what_can_be_read_is_shown() {
        let headers = b"NATS/1.0\r\nK: 42\r\nNats-Msg-Id: 1\r\nX: a\xff\r\nnothing\r\n\r\n";
        let expected = RawMessage::new("body")
            .with_key("42")
            .with_header("X", &b"a\xff"[..])
            .with_header(NO_HEADER, &b"\xff"[..]);
        assert_eq!(read(headers, "body".into(), "K"), expected);
    }

    proptest::proptest! {
        #[test]
        fn any_headers_are_survived(
            lines in "(NATS/1.0)?(\\r\\n|\\n| |:|[A-Za-z-]{1,4}|\\PC){0,20}",
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
        ) {
            for headers in [lines.as_bytes(), &bytes, &[lines.as_bytes(), &bytes].concat()] {
                let _ = is_readable(headers);
                let read = read(headers, "body".into(), "K");
                proptest::prop_assert_eq!(&read.payload[..], b"body");
            }
        }
    }
}
