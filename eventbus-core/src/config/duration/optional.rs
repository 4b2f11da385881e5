//! An optional duration as text with units: use as `#[serde(with = "duration::optional")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text(#[serde(with = "super")] Duration);

/// Writes a duration as text, if there is one.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(Text).serialize(serializer)
}

/// Reads a duration from text, if there is any.
///
/// # Errors
/// When the text is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}
