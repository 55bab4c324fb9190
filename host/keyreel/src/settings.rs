//! Sections of `keyreel.toml` about plugins' limits: one file each.
//! Not for: the server's sections (see `keyreel_server::settings`).

mod egress;
mod sandbox;

use std::ops::RangeInclusive;

pub(crate) use egress::EgressSettings;
pub(crate) use sandbox::SandboxLimits;

use crate::output::Usage;

/// Whether settings are within their ranges, which the schema says too.
///
/// # Errors
/// The first that is not.
fn in_range(settings: &[(&str, u32, RangeInclusive<u32>)]) -> Result<(), Usage> {
    for (name, value, range) in settings {
        if !range.contains(value) {
            let (least, most) = (range.start(), range.end());
            return Err(Usage::new(format!(
                "{name} is {value}: expected {least} to {most}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What the schema says is refused is refused, and every number has a range there.
    fn ranges_hold(schema: &Value, check: impl Fn(Value) -> Result<(), Usage>) {
        let properties = schema["properties"].as_object().unwrap();
        assert!(!properties.is_empty());
        for (name, property) in properties {
            for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
                let bound = property[bound].as_i64();
                let bound = bound.unwrap_or_else(|| panic!("{name} has no {property}"));
                check(json!({ name: bound })).unwrap_or_else(|error| panic!("{error}"));
                if bound + beyond >= 0 {
                    let error = check(json!({ name: bound + beyond })).unwrap_err();
                    assert!(error.to_string().starts_with(name.as_str()), "{error}");
                }
            }
        }
    }

    #[test]
    fn the_ranges_of_the_schema_hold() {
        let schema = schemars::schema_for!(EgressSettings).to_value();
        ranges_hold(&schema, |json| {
            serde_json::from_value::<EgressSettings>(json)
                .unwrap()
                .check()
        });
        let schema = schemars::schema_for!(SandboxLimits).to_value();
        ranges_hold(&schema, |json| {
            serde_json::from_value::<SandboxLimits>(json)
                .unwrap()
                .check()
        });
    }
}
