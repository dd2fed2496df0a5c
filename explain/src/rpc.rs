//! `rpc`: tarpc's frames, a length of four bytes and a message as MessagePack.

use crate::{
    To,
    annotation::{Annotation, Purpose, unread},
    msgpack::{Place, Shape, value},
    reader::{Budget, Reader},
};

use Shape::{Any, Each, Fields, OneOf};

const TRACE: Shape = Fields(&[("trace_id", &Any), ("span_id", &Any), ("sampling", &Any)]);
const DEADLINE: Shape = Fields(&[("seconds", &Any), ("nanoseconds", &Any)]);
const CONTEXT: Shape = Fields(&[("deadline", &DEADLINE), ("trace", &TRACE)]);
const DRAFT: Shape = Fields(&[
    ("name", &Any),
    ("data", &Any),
    ("id", &Any),
    ("level", &Any),
    ("created_at", &Any),
    ("transport", &Any),
]);
const CALL: Shape = OneOf(&[
    ("Version", &Any),
    ("Write", &Fields(&[("entry", &DRAFT)])),
    ("WriteBatch", &Fields(&[("entries", &Each(&DRAFT)), ("mode", &Any)])),
]);
const REQUEST: Shape = OneOf(&[
    ("Request", &Fields(&[("context", &CONTEXT), ("id", &Any), ("message", &CALL)])),
    ("Cancel", &Fields(&[("trace", &TRACE), ("id", &Any)])),
]);

const RECEIPT: Shape = Fields(&[("outcome", &Any), ("store_us", &Any)]);
const RECEIPTS: Shape = Fields(&[("results", &Each(&OneOf(&[("Ok", &Any)]))), ("store_us", &Any)]);
const ANSWER: Shape = OneOf(&[
    ("Version", &Any),
    ("Write", &OneOf(&[("Ok", &RECEIPT)])),
    ("WriteBatch", &OneOf(&[("Ok", &RECEIPTS)])),
]);
const RESPONSE: Shape = Fields(&[("id", &Any), ("message", &OneOf(&[("Ok", &ANSWER)]))]);

/// What went one way on a connection.
pub(crate) fn annotate(bytes: &[u8], to: To, budget: &Budget) -> Vec<Annotation> {
    let (mut frames, rest) = Reader::new(bytes, 0, budget).all(|reader| frame(reader, to));
    frames.extend(rest.map(unread));
    frames
}

fn frame(reader: &mut Reader, to: To) -> Option<Annotation> {
    reader.budget.take()?;
    let start = reader.offset();
    let len = reader.length(4)?;
    let head = Annotation::leaf(reader.since(start), Purpose::Framing, format!("length {len}"));
    let mut body = reader.part(len)?;
    let place = Place { name: "", to, depth: 0 };
    let (shape, kind) = match to {
        To::Server => (&REQUEST, "request"),
        To::Client => (&RESPONSE, "response"),
    };
    let message = value(&mut body, place, shape);
    let range = reader.since(start);
    let text = message.as_ref().map_or_else(|| "frame".to_owned(), |message| title(message, to));
    let parts = [head].into_iter().chain(message).collect();
    Some(Annotation::of(range, text, parts).of_kind(kind))
}

/// What a message is, by the names in it: `Request Write`, `Response Ok Write Ok`.
fn title(message: &Annotation, to: To) -> String {
    let mut words = Vec::new();
    names(message, &mut words);
    let words: Vec<_> = words.iter().map(|word| word.trim_matches('"')).collect();
    match to {
        To::Server => words.join(" "),
        To::Client => format!("Response {}", words.join(" ")),
    }
}

fn names(annotation: &Annotation, words: &mut Vec<String>) {
    /// More than any message of ours has.
    const WORDS: usize = 5;
    if annotation.children.is_empty() && annotation.cost.get(Purpose::Names) > 0 && words.len() < WORDS {
        words.push(annotation.text.clone());
    }
    annotation.children.iter().for_each(|child| names(child, words));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::covers;

    #[test]
    fn a_request_is_called_by_its_names_and_has_its_length_in_front() {
        let bytes = b"\x00\x00\x00\x1d\x81\xa7Request\x93\x92\x92\x04\x05\x93\xc0\x00\xa9Unsampled\x07";
        let whole = [&bytes[..], b"\xa7Version"].concat();
        let len = u8::try_from(whole.len() - 4).expect("short");
        let whole = [&[0, 0, 0, len][..], &whole[4..]].concat();
        let budget = Budget::new();
        let frames = annotate(&whole, To::Server, &budget);
        assert!(covers(&frames, &(0..whole.len())), "{frames:?}");
        assert_eq!(frames[0].cost().get(Purpose::Unread), 0, "{frames:?}");
        assert_eq!(frames[0].children[0].text, format!("length {len}"));
        assert!(frames[0].text.starts_with("Request"), "{}", frames[0].text);
    }

    #[test]
    fn a_frame_that_is_cut_off_is_told_as_not_decoded() {
        let budget = Budget::new();
        let frames = annotate(b"\x00\x00\x00\xff\x81", To::Server, &budget);
        assert!(covers(&frames, &(0..5)));
        assert_eq!(frames[0].cost().get(Purpose::Unread), 5);
    }
}
