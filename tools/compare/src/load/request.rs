//! The requests: everything but the ids is written once, before the clock starts.

use std::{net::SocketAddr, sync::Arc};

use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::workload::Subject;

/// The bytes of one request, which is sent again and again with new ids.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the ids stand.
    ids: Vec<usize>,
    texts: Arc<[String]>,
}

const ID_CHARS: usize = 36;

impl Request {
    /// One of `entries` entries with `payload_bytes` of text each. `name` marks whatever is measured together.
    pub(crate) fn new(
        broker: SocketAddr,
        subject: Subject,
        name: &str,
        payload_bytes: usize,
        entries: usize,
        seed: u64,
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut text = || (0..payload_bytes).map(|_| letter(&mut random)).collect();
        let texts: Arc<[String]> = (0..entries).map(|_| text()).collect();
        let entry = |data| format!(r#"{{"id":"{}","name":"{name}","data":"{data}"}}"#, Uuid::nil());
        let log = match &*texts {
            [one] => entry(one),
            many => format!("[{}]", many.iter().map(entry).collect::<Vec<_>>().join(",")),
        };
        let (action, transport) = match subject {
            Subject::Transport(transport) => ("log", transport),
            Subject::Echo => ("echo", Transport::Http),
        };
        let body = format!(r#"{{"action":"{action}","transport":"{transport}","log":{log}}}"#);
        let head = format!(
            "POST /handle HTTP/1.1\r\nHost: {broker}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        let nil = Uuid::nil().to_string();
        let ids = bytes.windows(ID_CHARS).enumerate().filter(|(_, window)| *window == nil.as_bytes());
        let ids = ids.map(|(at, _)| at).collect();
        Request { bytes, ids, texts }
    }

    /// The texts of its entries, in order.
    pub(crate) fn texts(&self) -> Arc<[String]> {
        Arc::clone(&self.texts)
    }

    /// Its bytes, with new ids, which are appended to `ids`.
    pub(crate) fn renew(&mut self, ids: &mut Vec<Uuid>) -> &[u8] {
        for at in &self.ids {
            let id = Uuid::now_v7();
            id.hyphenated().encode_lower(&mut self.bytes[*at..at + ID_CHARS]);
            ids.push(id);
        }
        &self.bytes
    }
}

/// Letters and digits: nothing that JSON would escape, and nothing that would compress to a fraction.
fn letter(random: &mut StdRng) -> char {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char::from(LETTERS[random.random_range(0..LETTERS.len())])
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proto::json::{Action, Entries, Handle};

    use super::*;

    #[test]
    fn a_request_is_what_the_broker_reads_with_new_ids_each_time() {
        let broker = "127.0.0.1:8080".parse().expect("an address");
        for (subject, entries) in [(Subject::Transport(Transport::Grpc), 1), (Subject::Echo, 3)] {
            let mut request = Request::new(broker, subject, "cell", 100, entries, 7);
            let mut ids = Vec::new();
            request.renew(&mut ids);
            let bytes = request.renew(&mut ids).to_vec();
            let text = String::from_utf8(bytes).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
            let handle = Handle::parse(body.as_bytes(), Timestamp::now()).expect("it is valid");
            let read: Vec<Uuid> = handle.entries.as_slice().iter().map(|entry| entry.id()).collect();
            assert_eq!(read, ids[entries..]);
            assert!(handle.entries.as_slice().iter().all(|entry| entry.data().len() == 100));
            assert!(handle.entries.as_slice().iter().map(|entry| entry.data()).eq(&*request.texts()));
            assert_eq!(matches!(handle.entries, Entries::One(_)), entries == 1);
            assert_eq!(handle.action == Action::Echo, subject == Subject::Echo);
        }
    }
}
