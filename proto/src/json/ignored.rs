//! A JSON value that is read for its errors alone.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// Parsed and dropped. Unlike [`serde::de::IgnoredAny`] it refuses what is nested too deeply or holds half a
/// surrogate, and unlike [`serde_json::Value`] it keeps nothing, which could be 16 times what was sent.
#[derive(Debug)]
pub(super) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Ignored)
    }
}

impl<'de> Visitor<'de> for Ignored {
    type Value = Ignored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_str<E>(self, _: &str) -> Result<Ignored, E> {
        Ok(Ignored)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Ignored, A::Error> {
        while elements.next_element::<Ignored>()?.is_some() {}
        Ok(Ignored)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Ignored, A::Error> {
        while fields.next_entry::<Ignored, Ignored>()?.is_some() {}
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_checked_as_if_it_were_kept_and_takes_no_memory() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let values = [
            r#"{"a":[null,true,-1,1,2.5,"\u0436",{}]}"#,
            "12345678901234567890.5",
            r#""\ud800""#,
            "1e999",
            r#"{"\ud800":1}"#,
            "{1:2}",
            "[1,]",
            "\"\n\"",
            &deep,
        ];
        for json in values {
            let kept = serde_json::from_str::<serde_json::Value>(json).map(drop);
            let ignored = serde_json::from_str::<Ignored>(json).map(drop);
            let text = |result: Result<(), serde_json::Error>| result.map_err(|error| error.to_string());
            assert_eq!(text(ignored), text(kept), "{json}");
        }
        assert_eq!(size_of::<Ignored>(), 0);
    }
}
