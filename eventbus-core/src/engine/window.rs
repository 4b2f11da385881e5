//! The window before there is a bus.

use std::{fmt, sync::Arc};

use super::{FailureHandler, Ledger};
use crate::{BusConfig, backend::Verdicts};

/// The bounded window of a bus to be: made first, so that a transport can be given the
/// [`Verdicts`] while it connects. Starts nothing yet.
pub struct Window(pub(super) Arc<Ledger>);

impl Window {
    /// A window with the limits of `config`, which should be validated. Without a handler,
    /// failures become ERROR events.
    #[must_use]
    pub fn new(config: BusConfig, on_failure: Option<FailureHandler>) -> Self {
        Self(Arc::new(Ledger::new(config, on_failure)))
    }

    /// Where the transport reports verdicts.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        Verdicts::new(self.0.clone())
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").finish_non_exhaustive()
    }
}
