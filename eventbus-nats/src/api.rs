//! Requests to the JetStream API.

use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use eventbus_core::{Error, ErrorKind};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    connection::{Connection, Link},
    error::{self, Refusal, Violation},
};

/// How long the API may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no result.
pub(crate) enum Failure {
    /// The server answered with an error.
    Refused(Refusal),
    /// There was no answer, or a strange one.
    Failed(Error),
}

impl Failure {
    pub(crate) fn is(&self, err_code: u32) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.err_code == err_code)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into_error(),
            Failure::Failed(error) => error,
        }
    }
}

#[derive(Deserialize)]
struct Head {
    error: Option<Refusal>,
}

impl Connection {
    /// The subject of an API call.
    pub(crate) fn api(&self, call: &str) -> String {
        match &self.config.domain {
            Some(domain) => format!("$JS.{domain}.API.{call}"),
            None => format!("$JS.API.{call}"),
        }
    }

    /// Asks over the connection of the moment.
    pub(crate) async fn ask<R: DeserializeOwned>(
        &self,
        call: &str,
        body: &impl Serialize,
    ) -> Result<R, Failure> {
        let link = self.link().ok_or_else(|| Failure::Failed(error::not_connected()))?;
        self.ask_over(&link, call, body, PATIENCE).await
    }

    pub(crate) async fn ask_over<R: DeserializeOwned>(
        &self,
        link: &Link,
        call: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<R, Failure> {
        let subject = self.api(call);
        let mut body = serde_json::to_vec(body).map_err(|failure| unexpected(&failure))?;
        if body == b"null" {
            // Some calls insist on an empty request where there is nothing to say.
            body.clear();
        }
        let mut violations = self.violations();
        let request = Request::new().payload(body.into()).timeout(Some(patience));
        let answer = tokio::select! {
            answer = link.client.send_request(subject.clone(), request) => answer,
            violation = self.denied(&mut violations, &subject) => {
                return Err(Failure::Failed(violation.into_error()));
            }
        };
        let answer = answer.map_err(|failure| {
            Failure::Failed(match failure.kind() {
                RequestErrorKind::NoResponders => error::error(
                    ErrorKind::Unavailable,
                    "JetStream does not answer: it is off, or has no leader at the moment",
                ),
                RequestErrorKind::TimedOut => {
                    error::error(ErrorKind::Unavailable, "JetStream did not answer in time")
                }
                _ => error::not_connected().with_context("client:", failure),
            })
        })?;
        let head: Head = serde_json::from_slice(&answer.payload).map_err(|f| unexpected(&f))?;
        match head.error {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => serde_json::from_slice(&answer.payload).map_err(|f| unexpected(&f)),
        }
    }

    /// Whether there is JetStream, and the user may listen for answers.
    pub(crate) async fn check_jetstream(&self, link: &Link) -> Result<(), Error> {
        match self.ask_over::<IgnoredAny>(link, "INFO", &(), PATIENCE).await {
            Ok(_) => Ok(()),
            Err(Failure::Failed(error))
                if error.kind() == ErrorKind::PermissionDenied
                    && error.context().any(|(_, subject)| subject == self.api("INFO")) =>
            {
                // A user with few permissions: what it does later will tell.
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Resolves when the server forbids the request or its answers.
    pub(crate) async fn denied(
        &self,
        violations: &mut tokio::sync::broadcast::Receiver<Violation>,
        subject: &str,
    ) -> Violation {
        loop {
            match violations.recv().await {
                Ok(violation) if violation.publish && violation.subject == subject => {
                    return violation;
                }
                Ok(violation)
                    if !violation.publish
                        && violation.subject.starts_with(&self.config.inbox_prefix) =>
                {
                    return violation;
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

fn unexpected(failure: &serde_json::Error) -> Failure {
    Failure::Failed(
        error::error(ErrorKind::Unexpected, "JetStream gave an answer that cannot be read")
            .with_context("cause:", failure),
    )
}
