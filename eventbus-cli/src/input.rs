//! Reading lines, each with its number.

use eventbus::{Envelope, Topic};
use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::codec::{FramedRead, LinesCodec};

use crate::{
    event::{self, Defaults},
    exit::Failure,
};

/// The longest line in bytes: a payload of what brokers take at most, as base64.
const MAX_LINE_BYTES: usize = 16 << 20;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineForm {
    /// An event as JSON.
    Event,
    /// A payload.
    Payload,
}

/// An event and where it came from.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// The line, from 1; `None` for what was no line.
    pub(crate) line: Option<u64>,
    pub(crate) topic: Topic,
    pub(crate) envelope: Envelope,
}

/// Events on lines. Empty lines are skipped.
pub(crate) struct Lines<R> {
    lines: FramedRead<R, LinesCodec>,
    name: String,
    number: u64,
    form: LineForm,
    defaults: Defaults,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// `name` is what the input is called in errors.
    pub(crate) fn new(
        input: R,
        name: impl Into<String>,
        form: LineForm,
        defaults: Defaults,
    ) -> Self {
        Self {
            lines: FramedRead::new(input, LinesCodec::new_with_max_length(MAX_LINE_BYTES)),
            name: name.into(),
            number: 0,
            form,
            defaults,
        }
    }

    /// The next event, `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Numbered, Failure>> {
        loop {
            let line = self.lines.next().await?;
            self.number += 1;
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(self.failure(&error.to_string()))),
            };
            let text = line.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Some(self.read(text));
            }
        }
    }

    fn read(&self, text: &str) -> Result<Numbered, Failure> {
        let event = match (self.form, &self.defaults.topic) {
            (LineForm::Payload, Some(topic)) => {
                let envelope = event::of_payload(text, topic, &self.defaults);
                Ok((topic.clone(), envelope))
            }
            _ => event::read(text, &self.defaults),
        };
        let (topic, envelope) = event.map_err(|error| self.failure(&error))?;
        Ok(Numbered { line: Some(self.number), topic, envelope })
    }

    fn failure(&self, problem: &str) -> Failure {
        Failure::usage(format!("{}, line {}: {problem}", self.name, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, form: LineForm) -> Vec<Result<Numbered, Failure>> {
        let defaults =
            Defaults { topic: Some(Topic::from_static("orders")), ..Defaults::default() };
        let mut lines = Lines::new(text.as_bytes(), "the input", form, defaults);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await {
            read.push(line);
        }
        read
    }

    #[tokio::test]
    async fn lines_are_numbered_and_empty_ones_skipped() {
        let read = read("\u{feff}{}\r\n\n  \n{\"key\":\"k\"}", LineForm::Event).await;
        let lines: Vec<_> = read.into_iter().map(|line| line.unwrap().line).collect();
        assert_eq!(lines, [Some(1), Some(4)]);
    }

    #[tokio::test]
    async fn a_mistake_is_reported_with_its_line() {
        let read = read("{}\n{\"payload\":}\n", LineForm::Event).await;
        let message = read[1].as_ref().unwrap_err().message();
        assert!(message.starts_with("the input, line 2: expected value"), "{message}");
    }

    #[tokio::test]
    async fn payloads_may_be_anything() {
        let read = read("hello\n{\"a\":1}\n", LineForm::Payload).await;
        let payload = |at: usize| read[at].as_ref().unwrap().envelope.payload().clone();
        assert_eq!(&payload(0)[..], b"hello");
        assert_eq!(&payload(1)[..], b"{\"a\":1}");
    }
}
