//! The frames of HTTP/2 that are about the connection or a stream of it, and carry nothing.

use crate::{
    annotation::{Annotation, Purpose},
    reader::Reader,
    shown::{hex, quoted},
};

const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// The frames that are about the connection.
pub(super) fn control(kind: u8, payload: &mut Reader) -> Option<Vec<Annotation>> {
    let mut parts = Vec::new();
    let mut put = |payload: &Reader, start: usize, text: String| {
        parts.push(Annotation::leaf(payload.since(start), Purpose::Connection, text));
    };
    while !payload.is_empty() {
        payload.budget.take()?;
        let start = payload.offset();
        match kind {
            SETTINGS => {
                let (id, value) = (payload.number(2)?, payload.number(4)?);
                put(payload, start, format!("{} = {value}", setting(id)));
            }
            RST_STREAM => {
                let code = payload.number(4)?;
                put(payload, start, format!("error code {}", error(code)));
            }
            GOAWAY => {
                let (last, code) = (payload.number(4)?, payload.number(4)?);
                put(payload, start, format!("last stream {last}, error code {}", error(code)));
                let rest = payload.offset();
                if let Some(said @ [_, ..]) = payload.take(payload.left().len()) {
                    put(payload, rest, format!("debug data {}", quoted(said)));
                }
            }
            WINDOW_UPDATE => {
                let more = payload.number(4)? & 0x7fff_ffff;
                put(payload, start, format!("window increment {more}"));
            }
            PING => {
                let said = hex(payload.take(8)?);
                put(payload, start, format!("opaque data {said}"));
            }
            PRIORITY => {
                payload.take(5)?;
                put(payload, start, "priority".to_owned());
            }
            // A push, which gRPC does not have, or a type that came after us.
            _ => {
                let all = hex(payload.take(payload.left().len())?);
                put(payload, start, all);
            }
        }
    }
    Some(parts)
}

fn setting(id: u64) -> String {
    let name = match id {
        1 => "HEADER_TABLE_SIZE",
        2 => "ENABLE_PUSH",
        3 => "MAX_CONCURRENT_STREAMS",
        4 => "INITIAL_WINDOW_SIZE",
        5 => "MAX_FRAME_SIZE",
        6 => "MAX_HEADER_LIST_SIZE",
        8 => "ENABLE_CONNECT_PROTOCOL",
        other => return format!("setting {other}"),
    };
    name.to_owned()
}

fn error(code: u64) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| code.to_string(), |name| format!("{code} {name}"))
}
