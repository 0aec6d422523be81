//! Owns: attributes: a name and a value of OpenTelemetry's, and those of this process and its machine.
//! Must not know: what they are put on.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::host::machine::Machine;

/// The version of the semantic conventions whose names are used.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// A text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

/// A number.
pub(super) fn number(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

/// Something that holds.
pub(super) fn holds(key: &str) -> KeyValue {
    pair(key, Value::BoolValue(true))
}

/// Any value.
pub(super) fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// Who tells: this process on this machine, and what whoever started it says of them (`OTEL_RESOURCE_ATTRIBUTES`), which counts more.
pub(super) fn resource(machine: &Machine, said: Option<&str>) -> Resource {
    let mut all: Vec<KeyValue> = [
        ("service.name", "twtrace"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &machine.machine_id),
        ("host.name", &machine.name),
        ("host.id", &machine.machine_id),
        ("os.type", "linux"),
        ("os.version", &machine.kernel),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| text(key, value))
    .collect();
    for (key, value) in said.into_iter().flat_map(pairs) {
        all.retain(|known| known.key != key);
        all.push(text(&key, value));
    }
    Resource { attributes: all, ..Resource::default() }
}

/// `key=value,key=value`, percent-encoded (OpenTelemetry, Resource SDK).
fn pairs(said: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = said.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = pairs.map(|(key, value)| (decoded(key.trim()), decoded(value.trim())));
    decoded.filter(|(key, _)| !key.is_empty())
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) if *first == b'%' => {
                out.push(code);
                rest = &after[2..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What made it.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "twtrace".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_more_than_what_was_found() {
        let machine = Machine { name: "web-17".to_owned(), ..Machine::default() };
        let said = "host.name=node%2D3, k8s.node.name = node-3,,=x,novalue,bad=%zz%4";
        let resource = resource(&machine, Some(said));
        let told: Vec<(&str, &KeyValue)> =
            resource.attributes.iter().map(|one| (one.key.as_str(), one)).collect();
        let of = |key: &str| {
            let mut all = told.iter().filter(|(known, _)| *known == key).map(|(_, one)| (*one).clone());
            (all.next(), all.next())
        };
        assert_eq!(of("host.name"), (Some(text("host.name", "node-3")), None));
        assert_eq!(of("k8s.node.name"), (Some(text("k8s.node.name", "node-3")), None));
        assert_eq!(of("bad"), (Some(text("bad", "%zz%4")), None));
        assert_eq!(of("service.name"), (Some(text("service.name", "twtrace")), None));
        // What is not known is not told.
        assert_eq!(of("host.id"), (None, None));
    }
}
