//! The parsers of URLs and of the configurations in them.

#![no_main]

use eventbus_core::{BusConfig, BusUrl};
use eventbus_nats::NatsConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(mut url) = text.parse::<BusUrl>() else { return };
    if let Ok(config) = url.parameters.take::<BusConfig>(BusConfig::PARAMETERS) {
        let _ = config.validate();
    }
    if let Ok(config) = NatsConfig::from_url(&mut url) {
        config.validate().expect("what was taken is valid");
    }
});
