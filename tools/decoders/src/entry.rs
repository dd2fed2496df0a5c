//! What must hold of an entry that was accepted, and of a refusal.

use jiff::Timestamp;
use prost::Message;
use proto::{
    Certainty, EntryDraft, Failure, LogEntry, Time, Transport,
    grpc::{self, Log},
    json::{self, Envelope, FailureData},
    limits::{BATCH_ENTRIES, DATA_BYTES, MESSAGE_CHARS, NAME_BYTES},
    rabbitmq::{parse_message, routing_key},
};

/// The time of entries that bring none. Fixed, so that the same bytes always do the same.
pub(crate) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Another time: an entry that was written out brings its own.
const LATER: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// An entry on its way in: either it is sound, or it is refused in the right words.
pub(crate) fn check_draft(draft: EntryDraft) {
    if let Err(failure) = draft.came_by(Transport::Http) {
        check_refusal(&failure);
    }
    match draft.check(NOW) {
        Ok(entry) => check_entry(&entry),
        Err(failure) => check_refusal(&failure),
    }
}

/// An accepted entry is within its limits, and is the same after each of the four wires.
pub(crate) fn check_entry(entry: &LogEntry) {
    assert!((1..=NAME_BYTES).contains(&entry.name().len()), "a name of {} bytes", entry.name().len());
    assert!(entry.data().len() <= DATA_BYTES, "data of {} bytes", entry.data().len());
    assert!(!entry.name().contains('\0') && !entry.data().contains('\0'), "U+0000");
    assert!(!entry.id().is_nil(), "the nil id");
    let kept = Time::from_microsecond(entry.created_at().as_microsecond());
    assert_eq!(kept, Some(entry.created_at()), "what no store keeps");
    let again = |draft: EntryDraft| assert_eq!(draft.check(LATER).as_ref(), Ok(entry));

    let text = json::entry_json(entry, Some(Transport::Rabbitmq));
    let draft = json::parse_entry(text.as_bytes()).expect("our own JSON");
    assert_eq!(draft.came_by(Transport::Http), Ok(Transport::Rabbitmq));
    again(draft);

    again(EntryDraft::from(entry));

    let message = grpc::log(entry, None).encode_to_vec();
    again(Log::decode(message.as_slice()).expect("our own message").into());

    let (text, id) = (json::entry_json(entry, None), entry.id().to_string());
    let delivered = parse_message(text.as_bytes(), Some(&id), routing_key(entry.level()), LATER);
    assert_eq!(delivered.map(|message| message.entry).as_ref(), Ok(entry));
}

/// A batch has a length that is allowed, and is the same when it is written out and read again.
pub(crate) fn check_batch(entries: &[LogEntry]) {
    assert!((1..=BATCH_ENTRIES).contains(&entries.len()), "a batch of {}", entries.len());
    let body = json::batch_json(entries, proto::BatchMode::Each, None);
    let batch = json::parse_batch(body.as_bytes()).expect("our own JSON");
    assert_eq!(batch.mode, proto::BatchMode::Each);
    let again = batch.entries.into_iter().map(|draft| draft.and_then(|draft| draft.check(LATER)));
    assert_eq!(again.collect::<Result<Vec<_>, _>>().as_deref(), Ok(entries));
}

/// A refusal says that nothing is stored, in a message that is short, and can be answered.
pub(crate) fn check_refusal(failure: &Failure) {
    assert_eq!(failure.certainty(), Certainty::Rejected, "{failure:?}");
    assert!((400..500).contains(&failure.code.http_status()), "{failure:?}");
    let chars = failure.message().chars().count();
    assert!((1..=MESSAGE_CHARS + 1).contains(&chars), "a message of {chars} characters");
    let sent = Envelope::failure(failure, None, &[]);
    let answer = serde_json::to_string(&sent).expect("an answer is JSON");
    assert_eq!(serde_json::from_str::<Envelope<FailureData>>(&answer).ok(), Some(sent));
}
