//! A request of which one record is neither stored nor rejected, beside others that are stored.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use proto::Code;
use serde_json::{Value, json};
use tests::tls;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Otlp, record, request};

#[tokio::test]
async fn one_record_that_is_not_certain_is_enough_to_have_the_whole_request_sent_again() {
    if tls::directory().is_some() {
        return; // the logger here has neither
    }
    let logger = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", logger.local_addr().expect("its address"));
    let batches = Arc::new(AtomicUsize::new(0));
    let (counted, mut server) = (Arc::clone(&batches), JoinSet::new());
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = logger.accept().await {
            connections.spawn(serve(stream, Arc::clone(&counted)));
        }
    });
    let otlp = Otlp::start(&[("LOGGER_HTTP_URL", &url)]).await;
    let sent = request(["first", "refused", "last"].map(record));
    for code in NOT_CERTAIN {
        let refused = otlp.export(&sent, &[]).await.expect_err("of the last nothing is certain");
        assert_eq!((refused.code, refused.retry_s), (14, Some(1)), "{code}: {refused:?}");
        assert!(refused.message.contains("no record is stored twice"), "{refused:?}");
    }
    // Where it is certain, what can never be stored is counted.
    let partial = otlp.export(&sent, &[]).await.expect("it is settled").expect("one is rejected");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.starts_with("record 1 "), "{partial:?}");
    assert_eq!(batches.load(Ordering::Relaxed), NOT_CERTAIN.len() + 1);
}

/// What becomes of the last record of each batch in turn; then it is stored.
const NOT_CERTAIN: [Code; 3] = [Code::OutcomeUnknown, Code::StorageFull, Code::Unavailable];

/// A logger that rejects the second entry of a batch, and stores the first.
async fn serve(mut stream: TcpStream, batches: Arc<AtomicUsize>) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let body = serde_json::from_str::<Value>(body).ok()?;
            Some((head.starts_with("POST /logs "), body))
        });
        // The listener and `/status` ask other things, and get no answer.
        let Some((is_batch, body)) = whole else {
            if stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                continue;
            }
            return;
        };
        // An empty batch is a ping.
        if !is_batch || body["entries"].as_array().is_none_or(Vec::is_empty) {
            return;
        }
        bytes.clear();
        let failed = |code: Code| json!({ "code": code, "message": "of this logger" });
        let stored = json!({ "outcome": "stored" });
        let last = NOT_CERTAIN.get(batches.fetch_add(1, Ordering::Relaxed));
        let last = last.map_or_else(|| stored.clone(), |code| failed(*code));
        let results = json!([stored, failed(Code::InvalidEntry), last]);
        let body = json!({ "error": false, "message": "", "data": { "results": results, "store_us": 1 } });
        let body = body.to_string();
        let answer = format!("HTTP/1.1 202 Accepted\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
