//! Where to start reading, as given on the command line.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use eventbus::{Position, Start};

/// One value of `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Earliest,
    Latest,
    Position(Position),
    Time(SystemTime),
    Ago(Duration),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            return Ok(Self::Time(time));
        }
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        Err("expected `earliest`, `latest`, a position as `pub` and `sub --json` print it, \
             a time such as `2026-01-31T12:00:00Z`, or how long ago, such as `15m`"
            .to_owned())
    }
}

/// The start that the values of `--from` ask for together.
pub(crate) fn start(values: &[From]) -> Result<Option<Start>, &'static str> {
    let mut positions = Vec::new();
    for value in values {
        let start = match value {
            From::Position(position) => {
                positions.push(position.clone());
                continue;
            }
            From::Earliest => Start::Earliest,
            From::Latest => Start::Latest,
            From::Time(time) => Start::Time(*time),
            From::Ago(ago) => {
                Start::Time(SystemTime::now().checked_sub(*ago).unwrap_or(SystemTime::UNIX_EPOCH))
            }
        };
        if values.len() > 1 {
            return Err("--from can be given several times only for positions");
        }
        return Ok(Some(start));
    }
    Ok((!positions.is_empty()).then_some(Start::Positions(positions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_understood() {
        let read = |text: &str| text.parse::<From>().unwrap();
        assert_eq!(read("earliest"), From::Earliest);
        assert_eq!(read("latest"), From::Latest);
        assert_eq!(read("15m"), From::Ago(Duration::from_secs(900)));
        let position = "memory:orders.created:0:41";
        assert_eq!(read(position), From::Position(position.parse().unwrap()));
        let time = humantime::parse_rfc3339("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(read("2026-01-31T12:00:00Z"), From::Time(time));
        assert_eq!(read("2026-01-31 12:00:00"), From::Time(time));
        assert!("yesterday".parse::<From>().unwrap_err().contains("15m"));
    }

    #[test]
    fn only_positions_go_together() {
        let [a, b] = ["memory:a:0:1", "memory:a:1:7"].map(|text| text.parse::<From>().unwrap());
        assert!(matches!(start(&[a.clone(), b]), Ok(Some(Start::Positions(p))) if p.len() == 2));
        assert!(start(&[a, From::Latest]).is_err());
        assert_eq!(start(&[]), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,30}", near in "[0-9a-zT:.+ -]{0,30}") {
            for text in [text, near] {
                if let Ok(from) = text.parse::<From>() {
                    proptest::prop_assert!(start(&[from]).is_ok_and(|start| start.is_some()));
                }
            }
        }
    }
}
