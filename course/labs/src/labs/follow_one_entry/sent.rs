//! Requests, each in a trace of its own.

use rand::RngExt;
use serde_json::Value;

use super::WIRES;
use crate::{
    bench::Random,
    words::{Text, text},
};

/// A traceparent that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: String,
    pub(super) span: String,
    pub(super) flags: String,
}

impl Parent {
    pub(super) fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return None };
        let is_hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
        let sound = version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        (sound && is_set(trace) && is_set(span)).then(|| Parent {
            trace: trace.to_owned(),
            span: span.to_owned(),
            flags: flags.to_owned(),
        })
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) wire: &'static str,
    pub(super) name: String,
    pub(super) data: String,
    pub(super) traceparent: Option<String>,
    pub(super) state: Option<String>,
}

impl Sent {
    pub(super) fn new(random: &mut Random, wire: &'static str, traceparent: Option<String>) -> Self {
        let (id, name, data) = (random.id().to_string(), random.name(), random.data());
        Sent { id, wire, name, data, traceparent, state: None }
    }

    pub(super) fn traced(random: &mut Random, wire: &'static str, flags: &str) -> Self {
        let (trace, span) = (random.0.random::<u128>() | 1, random.0.random::<u64>() | 1);
        Self::new(random, wire, Some(format!("00-{trace:032x}-{span:016x}-{flags}")))
    }

    /// Ten over each wire.
    pub(super) fn thirty(random: &mut Random) -> Vec<Self> {
        (0..30).map(|at| Self::traced(random, WIRES[at % 3], "01")).collect()
    }

    /// The trace and span that it was sent with; nothing, if that is malformed.
    pub(super) fn parent(&self) -> Parent {
        let none = || Parent { trace: String::new(), span: String::new(), flags: String::new() };
        self.traceparent.as_deref().and_then(Parent::read).unwrap_or_else(none)
    }

    /// What was seen of it, after its wire.
    pub(super) fn over(&self, what: Text) -> Text {
        let (wire, Text { en, ru }) = (self.wire, what);
        text!("over {wire}: {en}", "по {wire}: {ru}")
    }

    pub(super) fn is_named(&self, lines: &[Value]) -> bool {
        let trace = self.parent().trace;
        lines.iter().any(|line| {
            line["trace_id"] == trace.as_str()
                && line["entry_id"] == self.id.as_str()
                && line["span_id"].as_str().is_some_and(|span| span.len() == 16)
        })
    }
}
