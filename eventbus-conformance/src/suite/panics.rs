//! Failed assertions, with their place.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
};

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on each thread remembers its last panic.
pub(super) fn remember_places() {
    let default = take_hook();
    set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>().copied();
        let text = text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("a panic without a message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        LAST.set(format!("{message}\n    at {place}"));
        default(info);
    }));
}

/// What `run` returns, or the message and place of its panic.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| LAST.take())
}
