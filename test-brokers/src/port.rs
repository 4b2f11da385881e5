//! Ports that stay ours while a broker is down.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::TcpListener;
use std::ops::Range;

use crate::Error;
use crate::cache;

/// Below where operating systems take the ports of outgoing connections: one
/// from there could be taken by anybody between a kill and the restart.
const RANGE: Range<u16> = 21_000..29_000;

/// A port on the loopback address. Other test processes leave it alone until it
/// is dropped, whether something listens there or not.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lease: File,
}

impl Port {
    /// Takes a port that is free now.
    pub(crate) fn take() -> Result<Self, Error> {
        let leases = cache::directory().join("ports");
        fs::create_dir_all(&leases).map_err(Error::io("cannot create", &leases))?;
        let count = RANGE.end - RANGE.start;
        // Starting anywhere spares processes that start together most collisions.
        let start = RandomState::new().hash_one(std::process::id());
        let start = u16::try_from(start % u64::from(count)).unwrap_or(0);
        for step in 0..count {
            let number = RANGE.start + (start + step) % count;
            let path = leases.join(number.to_string());
            let lease = File::create(&path).map_err(Error::io("cannot create", &path))?;
            if lease.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lease: lease });
            }
        }
        Err(Error::NoFreePort { range: RANGE })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
