use std::fmt;

use nkeys::KeyPair;
use serde_json::{Map, Value, json};

use crate::Error;

/// Somebody who may connect, and what they may do: everything, until lists of
/// subjects are given.
///
/// ```
/// use test_brokers::User;
/// let reader = User::password("reader", "secret")
///     .publish(["$JS.API.>", "$JS.ACK.>"])
///     .subscribe(["orders.>", "_INBOX.>"]);
/// ```
#[derive(Debug, Clone)]
pub struct User {
    identity: Map<String, Value>,
    permissions: Map<String, Value>,
}

impl User {
    /// Known by a name and a password.
    pub fn password(name: &str, password: &str) -> Self {
        Self::with([("user", name), ("password", password)])
    }

    /// Known by a key, whose seed the client uses.
    pub fn nkey(key: &Nkey) -> Self {
        Self::with([("nkey", key.public.as_str())])
    }

    fn with<'a>(identity: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            identity: identity
                .into_iter()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect(),
            permissions: Map::new(),
        }
    }

    /// May publish to these subjects only.
    pub fn publish<'a>(self, subjects: impl IntoIterator<Item = &'a str>) -> Self {
        self.permit("publish", "allow", subjects)
    }

    /// May publish to all but these subjects.
    pub fn deny_publish<'a>(self, subjects: impl IntoIterator<Item = &'a str>) -> Self {
        self.permit("publish", "deny", subjects)
    }

    /// May subscribe to these subjects only.
    pub fn subscribe<'a>(self, subjects: impl IntoIterator<Item = &'a str>) -> Self {
        self.permit("subscribe", "allow", subjects)
    }

    /// May subscribe to all but these subjects.
    pub fn deny_subscribe<'a>(self, subjects: impl IntoIterator<Item = &'a str>) -> Self {
        self.permit("subscribe", "deny", subjects)
    }

    fn permit<'a>(
        mut self,
        action: &str,
        rule: &str,
        subjects: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let subjects: Vec<&str> = subjects.into_iter().collect();
        let rules = self.permissions.entry(action).or_insert_with(|| json!({}));
        rules[rule] = json!(subjects);
        self
    }

    /// As the server's configuration has it.
    pub(super) fn to_config(&self) -> Value {
        let mut user = self.identity.clone();
        if !self.permissions.is_empty() {
            user.insert("permissions".to_owned(), json!(self.permissions));
        }
        Value::Object(user)
    }
}

/// A user's key: the server knows the public half, the client signs with the seed.
#[derive(Clone)]
pub struct Nkey {
    public: String,
    seed: String,
}

impl Nkey {
    /// A new one.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::new_user();
        Ok(Self { public: pair.public_key(), seed: pair.seed()? })
    }

    /// The public half, which starts with `U`.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The secret half, which starts with `SU`.
    pub fn seed(&self) -> &str {
        &self.seed
    }
}

impl fmt::Debug for Nkey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nkey").field("public", &self.public).finish_non_exhaustive()
    }
}
