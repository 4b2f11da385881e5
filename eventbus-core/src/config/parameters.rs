//! URL parameters as configuration.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, IntoDeserializer, Visitor, value},
    forward_to_deserialize_any,
};

use crate::{Error, ErrorKind};

/// The parameters of a URL, to be taken by those who know them; what is left over at the
/// end is an error. Values may be secrets, so they are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Result<Self, Error> {
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::new(ErrorKind::InvalidConfig, "a parameter is given twice")
                    .with_context("parameter", name));
            }
        }
        Ok(Self(pairs))
    }

    /// Takes the parameters called `names` and reads a `C` from them; fields that are not
    /// given keep the default that serde has for them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], naming the parameter and what its value may be.
    pub fn take<C: DeserializeOwned>(&mut self, names: &[&str]) -> Result<C, Error> {
        let (taken, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(name, _)| names.contains(&name.as_str()));
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        let fields = taken.iter().map(|(name, value)| (name.as_str(), Field { name, value }));
        C::deserialize(value::MapDeserializer::new(fields))
            .map_err(|error: value::Error| Error::new(ErrorKind::InvalidConfig, error.to_string()))
    }

    /// Takes the parameters whose names start with `prefix`, as they are, and gives their names
    /// without it: for options that are passed on to a client library under its own names.
    pub fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        self.0.retain(|(name, value)| match name.strip_prefix(prefix) {
            Some(rest) => {
                taken.push((rest.to_owned(), value.clone()));
                false
            }
            None => true,
        });
        taken
    }

    /// Refuses what nobody took. `known` is what could have been given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], naming the unknown parameter and listing the known ones.
    pub fn finish<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let Some((name, _)) = self.0.first() else {
            return Ok(());
        };
        let known: Vec<_> = known.into_iter().collect();
        Err(Error::new(ErrorKind::InvalidConfig, "the URL has an unknown parameter")
            .with_context("parameter", name)
            .with_context("known:", known.join(", ")))
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// One value: text, read as whatever the field wants.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a str,
    value: &'a str,
}

impl Field<'_> {
    fn named(&self, error: &value::Error) -> value::Error {
        de::Error::custom(format_args!("parameter `{}`: {error}", self.name))
    }

    fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, value::Error> {
        self.value.parse().map_err(|_| {
            let found = de::Unexpected::Str(self.value);
            self.named(&de::Error::invalid_value(found, &expected))
        })
    }
}

impl<'de> IntoDeserializer<'de> for Field<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Field<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_str(self.value).map_err(|error| self.named(&error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bool(self.parse("`true` or `false`")?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let number = self.parse("a whole number")?;
        visitor.visit_u64(number).map_err(|error| self.named(&error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self.value.into_deserializer()).map_err(|error| self.named(&error))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_u64(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
