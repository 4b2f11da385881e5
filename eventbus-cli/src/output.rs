//! Standard output and the text on it.

use std::{
    fmt,
    io::{self, BufWriter, Stdout, Write},
    time::Duration,
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// What is good.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What is bad.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What structures the text.
pub(crate) const HEAD: Style = Style::new().bold();
/// What can be skipped.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Standard output, buffered, with colours only on a terminal, for what is told about something
/// that is done: that nobody reads it any more is no error. Flush it when it matters.
pub(crate) struct Out(BufWriter<AutoStream<Stdout>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        heard_or_not(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        heard_or_not(self.0.flush(), ())
    }
}

fn heard_or_not<T>(written: io::Result<T>, nobody: T) -> io::Result<T> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(nobody),
        written => written,
    }
}

/// Standard output.
pub(crate) fn out() -> Out {
    Out(BufWriter::new(AutoStream::auto(io::stdout())))
}

/// Standard output for events, where to be read by nobody is an error. JSON goes out byte for
/// byte: without a terminal the other kind leaves out control characters.
pub(crate) fn events(json: bool) -> Box<dyn Write + Send> {
    match json {
        true => Box::new(BufWriter::new(io::stdout())),
        false => Box::new(BufWriter::new(AutoStream::auto(io::stdout()))),
    }
}

/// A number with a comma after every three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// How many a second, rounded to three digits.
pub(crate) fn rate(number: u64, elapsed: Duration) -> String {
    let rate = number as f64 / elapsed.as_secs_f64().max(1e-9);
    let step = 10_f64.powf((rate.max(1.0).log10().floor() - 2.0).max(0.0));
    format!("{}/s", thousands(((rate / step).round() * step) as u64))
}

/// A duration as short as it can be understood.
pub(crate) fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        micros if micros < 1e3 => format!("{micros:.0} µs"),
        micros if micros < 1e4 => format!("{:.1} ms", micros / 1e3),
        micros if micros < 1e6 => format!("{:.0} ms", micros / 1e3),
        micros => format!("{:.1} s", micros / 1e6),
    }
}

/// Text of unknown origin, for a terminal: on one line and without control characters.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for character in self.0.chars() {
            match character {
                '\n' | '\r' | '\t' => f.write_char(' ')?,
                character if character.is_control() => {
                    write!(f, "{}", character.escape_unicode())?;
                }
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!(count(0, "event"), "0 events");
        assert_eq!(rate(416_789, Duration::from_secs(1)), "417,000/s");
        assert_eq!(rate(12, Duration::from_secs(1)), "12/s");
        assert_eq!(rate(0, Duration::ZERO), "0/s");
    }

    #[test]
    fn durations_read_well() {
        let shown = [1, 999, 2_140, 38_000, 12_500_000].map(|us| short(Duration::from_micros(us)));
        assert_eq!(shown, ["1 µs", "999 µs", "2.1 ms", "38 ms", "12.5 s"]);
    }

    #[test]
    fn terminals_are_not_given_commands() {
        assert_eq!(Printable("a\x1b[2Jb\nc").to_string(), "a\\u{1b}[2Jb c");
    }
}
