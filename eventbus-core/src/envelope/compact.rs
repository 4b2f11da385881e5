//! The `compact` wire format, version 1. `docs/wire-format.md` is its specification.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use smol_str::SmolStr;
use uuid::Uuid;

use super::{Envelope, Headers, JSON, OCTET_STREAM, Trace, block, from_micros, micros};
use crate::{Error, ErrorKind};

/// First byte: 0xE marks the format, the low half is its version. No JSON and no ASCII
/// text starts with it, so subscribers can tell the formats apart.
const VERSION_1: u8 = 0xE1;
const FORMAT_MASK: u8 = 0xF0;

const SOURCE: u8 = 1;
const KEY: u8 = 1 << 1;
const CORRELATION: u8 = 1 << 2;
const CAUSATION: u8 = 1 << 3;
const TRACE: u8 = 1 << 4;
const CONTENT_TYPE: u8 = 1 << 5;
const HEADERS: u8 = 1 << 6;
const UNKNOWN: u8 = 1 << 7;

/// Version, flags, id, timestamp, event version.
const FIXED: usize = 1 + 1 + 16 + 8 + 4;
const ID_AT: usize = 2;

/// The bytes of an envelope that was encoded here, so that decoding them cannot fail.
#[derive(Clone, Debug)]
pub(crate) struct Encoded(Bytes);

impl Encoded {
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }

    pub(crate) fn id(&self) -> Uuid {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[ID_AT..ID_AT + 16]);
        Uuid::from_bytes(id)
    }

    pub(crate) fn decode(&self) -> Envelope {
        #[allow(clippy::expect_used, reason = "these bytes come from `encode` in this file")]
        decode(self.0.clone()).expect("an encoded envelope decodes")
    }
}

pub(super) fn encoded_len(envelope: &Envelope) -> usize {
    let optional = |text: Option<&SmolStr>| text.map_or(0, |text| text_len(text));
    let mut len = FIXED + text_len(&envelope.event_type) + envelope.payload.len();
    if !envelope.source.is_empty() {
        len += text_len(&envelope.source);
    }
    len += optional(envelope.aggregate_id.as_ref()) + optional(envelope.correlation_id.as_ref());
    if envelope.causation_id.is_some() {
        len += 16;
    }
    if let Some(trace) = &envelope.trace {
        len += text_len(&trace.parent) + text_len(&trace.state);
    }
    if envelope.content_type != JSON {
        len += text_len(&envelope.content_type);
    }
    if !envelope.headers.is_empty() {
        len += varint_len(envelope.headers.len());
        len += envelope.headers.iter().map(|(n, v)| text_len(n) + text_len(v)).sum::<usize>();
    }
    len
}

/// In memory of its own.
pub(super) fn encode(envelope: &Envelope) -> Encoded {
    Encoded(block::own(encoded_len(envelope), |out| write(envelope, out)))
}

/// In memory that it may share with others: for what is soon done with.
pub(super) fn encode_shared(envelope: &Envelope) -> Encoded {
    Encoded(block::shared(encoded_len(envelope), |out| write(envelope, out)))
}

fn write(envelope: &Envelope, out: &mut BytesMut) {
    out.put_slice(&fixed(envelope));
    put_text(out, &envelope.event_type);
    if !envelope.source.is_empty() {
        put_text(out, &envelope.source);
    }
    if let Some(key) = &envelope.aggregate_id {
        put_text(out, key);
    }
    if let Some(id) = &envelope.correlation_id {
        put_text(out, id);
    }
    if let Some(id) = &envelope.causation_id {
        out.put_slice(id.as_bytes());
    }
    if let Some(trace) = &envelope.trace {
        put_text(out, &trace.parent);
        put_text(out, &trace.state);
    }
    if envelope.content_type != JSON {
        put_text(out, &envelope.content_type);
    }
    if !envelope.headers.is_empty() {
        put_varint(out, envelope.headers.len());
        for (name, value) in envelope.headers.iter() {
            put_text(out, name);
            put_text(out, value);
        }
    }
    out.put_slice(&envelope.payload);
}

fn fixed(envelope: &Envelope) -> [u8; FIXED] {
    let mut fixed = [0; FIXED];
    fixed[..ID_AT].copy_from_slice(&[VERSION_1, flags(envelope)]);
    fixed[ID_AT..18].copy_from_slice(envelope.id.as_bytes());
    fixed[18..26].copy_from_slice(&micros(envelope.timestamp).to_be_bytes());
    fixed[26..].copy_from_slice(&envelope.event_version.to_be_bytes());
    fixed
}

fn flags(envelope: &Envelope) -> u8 {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    flag(!envelope.source.is_empty(), SOURCE)
        | flag(envelope.aggregate_id.is_some(), KEY)
        | flag(envelope.correlation_id.is_some(), CORRELATION)
        | flag(envelope.causation_id.is_some(), CAUSATION)
        | flag(envelope.trace.is_some(), TRACE)
        | flag(envelope.content_type != JSON, CONTENT_TYPE)
        | flag(!envelope.headers.is_empty(), HEADERS)
}

pub(super) fn decode(mut bytes: Bytes) -> Result<Envelope, Error> {
    let mut reader = Reader { rest: &bytes };
    let mut envelope = read(&mut reader)?;
    let read = bytes.len() - reader.rest.len();
    bytes.advance(read);
    envelope.payload = bytes;
    Ok(envelope)
}

/// Reads all but the payload, which is the rest.
fn read(reader: &mut Reader<'_>) -> Result<Envelope, Error> {
    let [version] = reader.fixed("version")?;
    if version != VERSION_1 {
        return Err(unknown_version(version));
    }
    let [flags] = reader.fixed("flags")?;
    if flags & UNKNOWN != 0 {
        return Err(undecodable("a flag that this version does not define is set"));
    }
    let has = |bit: u8| flags & bit != 0;
    Ok(Envelope {
        id: Uuid::from_bytes(reader.fixed("id")?),
        timestamp: from_micros(u64::from_be_bytes(reader.fixed("timestamp")?)),
        event_version: u32::from_be_bytes(reader.fixed("event version")?),
        event_type: reader.text("event type")?.into(),
        source: if has(SOURCE) { reader.text("source")?.into() } else { SmolStr::default() },
        aggregate_id: has(KEY).then(|| reader.text("aggregate id")).transpose()?.map(Into::into),
        correlation_id: has(CORRELATION)
            .then(|| reader.text("correlation id"))
            .transpose()?
            .map(Into::into),
        causation_id: has(CAUSATION)
            .then(|| reader.fixed("causation id"))
            .transpose()?
            .map(Uuid::from_bytes),
        trace: has(TRACE).then(|| reader.trace()).transpose()?,
        content_type: if has(CONTENT_TYPE) {
            content_type(reader.text("content type")?)
        } else {
            const { SmolStr::new_static(JSON) }
        },
        headers: if has(HEADERS) { reader.headers()? } else { Headers::new() },
        payload: Bytes::new(),
    })
}

/// Spares the usual one its allocation: it is too long to be stored inline.
fn content_type(text: &str) -> SmolStr {
    if text == OCTET_STREAM { const { SmolStr::new_static(OCTET_STREAM) } } else { text.into() }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn fixed<const LEN: usize>(&mut self, field: &'static str) -> Result<[u8; LEN], Error> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(ended(field));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let len = self.varint(field)?;
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else {
            return Err(ended(field));
        };
        self.rest = rest;
        str::from_utf8(bytes)
            .map_err(|_| undecodable("a text is not UTF-8").with_context("field", field))
    }

    fn trace(&mut self) -> Result<Box<Trace>, Error> {
        let parent = self.text("traceparent")?.into();
        Ok(Box::new(Trace { parent, state: self.text("tracestate")?.into() }))
    }

    fn headers(&mut self) -> Result<Headers, Error> {
        let mut headers = Headers::new();
        for _ in 0..self.varint("headers")? {
            let name = self.text("header name")?;
            let value = self.text("header value")?;
            headers.0.push((name.into(), value.into()));
        }
        Ok(headers)
    }

    fn varint(&mut self, field: &'static str) -> Result<usize, Error> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed(field)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return usize::try_from(value).map_err(|_| {
                    undecodable("a length is too large").with_context("field", field)
                });
            }
        }
        Err(undecodable("a length has more than five bytes").with_context("field", field))
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_varint(out, text.len());
    out.put_slice(text.as_bytes());
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn text_len(text: &str) -> usize {
    varint_len(text.len()) + text.len()
}

fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cold]
fn ended(field: &'static str) -> Error {
    undecodable("the bytes end early").with_context("field", field)
}

fn undecodable(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Undecodable, message)
}

fn unknown_version(version: u8) -> Error {
    if version & FORMAT_MASK == VERSION_1 & FORMAT_MASK {
        undecodable("the envelope has a later version of the format; upgrade this reader")
            .with_context("version", version & !FORMAT_MASK)
    } else {
        undecodable("the bytes are no envelope; if other programs write this topic, read it raw")
            .with_context("first byte", format_args!("{version:#04x}"))
    }
}
