//! `http`: HTTP/1.1, its head line by line and its body as JSON.

use crate::{
    To,
    annotation::{Annotation, Cost, Purpose, unread},
    json,
    reader::{Budget, Reader},
    shown::{HIDDEN, hex, plain},
};

/// Longest head that is looked for the end of.
const HEAD_BYTES: usize = 64 * 1024;

/// The headers whose values nobody may see.
const SECRETS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"];

/// Whether nobody may see what a header holds.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// What went one way on a connection.
pub(crate) fn annotate(bytes: &[u8], to: To, budget: &Budget) -> Vec<Annotation> {
    let (mut messages, rest) = Reader::new(bytes, 0, budget).all(|reader| message(reader, to));
    messages.extend(rest.map(unread));
    messages
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Bytes(usize),
    Chunks,
    /// Until the connection ends.
    Rest,
}

fn message(reader: &mut Reader, to: To) -> Option<Annotation> {
    let start = reader.offset();
    let mut parts = Vec::new();
    let first = line(reader)?;
    let title = plain(first);
    reader.budget.take()?;
    parts.push(framed_behind(reader.since(start), 2, format!("{} {title}", first_line(to))));
    let mut body = match to {
        To::Server => Body::Bytes(0),
        To::Client => Body::Rest,
    };
    loop {
        reader.budget.take()?;
        let begun = reader.offset();
        let text = line(reader)?;
        if text.is_empty() {
            parts.push(Annotation::leaf(
                reader.since(begun),
                Purpose::Framing,
                "blank line: end of the headers",
            ));
            break;
        }
        parts.push(header(reader, begun, text, &mut body)?);
    }
    let has_none = |status: &str| matches!(status, "204" | "304") || status.starts_with('1');
    if to == To::Client && title.split(' ').nth(1).is_some_and(has_none) {
        body = Body::Bytes(0);
    }
    parts.extend(read_body(reader, body, to)?);
    let kind = match to {
        To::Server => "request",
        To::Client => "response",
    };
    Some(Annotation::of(reader.since(start), title, parts).of_kind(kind))
}

const fn first_line(to: To) -> &'static str {
    match to {
        To::Server => "request line",
        To::Client => "status line",
    }
}

fn header(reader: &Reader, start: usize, text: &[u8], body: &mut Body) -> Option<Annotation> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&text[..colon], &text[colon + 1..]);
    let space = value.iter().take_while(|byte| **byte == b' ').count();
    let value = &value[space..];
    let name = plain(name);
    let shown = plain(value);
    if name.eq_ignore_ascii_case("content-length") {
        *body = Body::Bytes(shown.parse().ok()?);
    } else if name.eq_ignore_ascii_case("transfer-encoding") && shown.eq_ignore_ascii_case("chunked") {
        *body = Body::Chunks;
    }
    let range = reader.since(start);
    let framing = 1 + space + 2;
    if is_secret(&name) {
        let at = start + colon + 1 + space;
        return Some(
            framed_behind(range, framing, format!("{name}: {HIDDEN}")).hiding(at..at + value.len(), false),
        );
    }
    Some(framed_behind(range, framing, format!("{name}: {shown}")))
}

/// A line of the head, of which so many bytes are delimiters.
fn framed_behind(range: std::ops::Range<usize>, framing: usize, text: String) -> Annotation {
    let cost = Cost::of(Purpose::Framing, framing).plus(&Cost::of(Purpose::Headers, range.len() - framing));
    Annotation { cost, ..Annotation::leaf(range, Purpose::Headers, text) }
}

/// A line without its end.
fn line<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let left = reader.left();
    let end = left[..left.len().min(HEAD_BYTES)].windows(2).position(|two| two == b"\r\n")?;
    let line = reader.take(end)?;
    reader.take(2)?;
    Some(line)
}

fn read_body(reader: &mut Reader, body: Body, to: To) -> Option<Vec<Annotation>> {
    let len = match body {
        Body::Bytes(len) => len,
        Body::Rest => reader.left().len(),
        Body::Chunks => return chunks(reader),
    };
    let content = reader.part(len)?;
    let range = content.offset()..content.end();
    if len == 0 {
        return Some(Vec::new());
    }
    let document = json::document(content, to);
    Some(document.unwrap_or_else(|| {
        vec![Annotation::leaf(range, Purpose::Answer, format!("body, {}", hex(content.left())))]
    }))
}

fn chunks(reader: &mut Reader) -> Option<Vec<Annotation>> {
    let mut parts = Vec::new();
    loop {
        reader.budget.take()?;
        let start = reader.offset();
        let size = std::str::from_utf8(line(reader)?).ok()?.split(';').next()?.trim().to_owned();
        let len = usize::from_str_radix(&size, 16).ok()?;
        parts.push(Annotation::leaf(reader.since(start), Purpose::Framing, format!("chunk of {len} B")));
        if len > 0 {
            let content = reader.part(len)?;
            let range = content.offset()..content.end();
            parts.push(Annotation::leaf(range, Purpose::Answer, format!("body, {}", plain(content.left()))));
        }
        let end = reader.offset();
        // Trailers would be lines here; no service of ours sends one.
        line(reader)?.is_empty().then_some(())?;
        parts.push(Annotation::leaf(reader.since(end), Purpose::Framing, "end of the chunk"));
        if len == 0 {
            return Some(parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::covers;

    fn read(text: &str, to: To) -> Vec<Annotation> {
        let budget = Budget::new();
        let messages = annotate(text.as_bytes(), to, &budget);
        assert!(covers(&messages, &(0..text.len())), "{messages:?}");
        messages
    }

    fn unread_bytes(messages: &[Annotation]) -> u32 {
        messages.iter().map(|message| message.cost().get(Purpose::Unread)).sum()
    }

    #[test]
    fn requests_follow_each_other_on_a_connection() {
        let one = "POST /log HTTP/1.1\r\ncontent-length: 16\r\nhost: a\r\n\r\n{\"name\":\"event\"}";
        let messages = read(&one.repeat(2), To::Server);
        assert_eq!((messages.len(), unread_bytes(&messages)), (2, 0));
        assert_eq!(messages[1].text, "POST /log HTTP/1.1");
        assert_eq!(messages[1].cost().get(Purpose::Entry), 5);
        let head = &messages[0].children[1];
        assert_eq!((head.text.as_str(), head.cost.get(Purpose::Framing)), ("content-length: 16", 4));
    }

    #[test]
    fn a_body_may_come_in_chunks_or_not_at_all() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let none = "HTTP/1.1 204 No Content\r\n\r\n";
        let messages = read(&format!("{chunked}{none}"), To::Client);
        assert_eq!((messages.len(), unread_bytes(&messages)), (2, 0));
    }

    #[test]
    fn a_secret_is_hidden_and_its_place_is_known() {
        let messages = read("GET / HTTP/1.1\r\nAuthorization: Bearer swordfish\r\n\r\n", To::Server);
        assert!(!format!("{messages:?}").contains("swordfish"));
        assert_eq!(messages[0].secrets()[0].range, 31..47);
    }

    #[test]
    fn what_is_no_http_is_told_as_not_decoded() {
        for text in [
            "hello",
            "GET / HTTP/1.1\r\nno header\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort",
        ] {
            assert_eq!(unread_bytes(&read(text, To::Server)) as usize, text.len(), "{text}");
        }
    }
}
