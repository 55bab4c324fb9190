//! The operator's log. The host adds plugin, tenant and request, strips control characters and caps
//! lines and bytes per call.
//! Not for: key material, or what a key service sent.

use crate::bindings::keyreel::key_provider::log::{Level, log};

/// Of use to the plugin's author only.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    send(Level::Debug, message, fields);
}

/// Worth knowing.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    send(Level::Info, message, fields);
}

/// Someone should look at it.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    send(Level::Warn, message, fields);
}

/// Something is broken.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    send(Level::Error, message, fields);
}

fn send(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    log(level, message, &fields);
}
