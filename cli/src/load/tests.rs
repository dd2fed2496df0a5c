use std::path::Path;

use clap::Parser;
use tokio::{io::AsyncReadExt, net::TcpSocket};

use super::*;
use crate::config::{Command, Config};

fn parse(arguments: &[&str]) -> (Load, Stack) {
    let config = Config::try_parse_from([&["fourwire", "load"][..], arguments].concat()).expect("a load");
    let Command::Load(load) = config.command else { panic!("it is a load") };
    (load, config.stack)
}

/// A file of that text in that directory; its path.
fn file(directory: &Path, text: &str) -> String {
    let path = directory.join("entries.ndjson");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

/// How a load over write-logs ends; `meanwhile` is done beside it.
async fn ending(url: &str, meanwhile: impl Future<Output = ()>) -> Ending {
    let directory = tempfile::tempdir().expect("a directory");
    let file = file(directory.path(), "{\"name\":\"event\",\"data\":\"\"}\n");
    let (arguments, stack) = parse(&[&file, "--patience", "1", "--logger-grpc-url", url]);
    let (ending, ()) = tokio::join!(load(&arguments, &stack), meanwhile);
    ending.expect("it tells of the failure by itself")
}

#[tokio::test]
async fn what_was_sent_before_a_call_broke_may_be_stored() {
    // The first keeps the port, so that nobody is there once the second is gone.
    let [kept, listening] = [(); 2].map(|()| TcpSocket::new_v4().expect("a socket"));
    kept.set_reuseaddr(true).expect("an option");
    kept.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = kept.local_addr().expect("its address");
    listening.set_reuseaddr(true).expect("an option");
    listening.bind(address).expect("the same");
    let listener = listening.listen(16).expect("it listens");
    let url = format!("http://{address}");
    let take_one = async {
        let (mut stream, _) = listener.accept().await.expect("it connects");
        let mut taken = Vec::new();
        while !taken.windows(5).any(|bytes| bytes == b"event") {
            assert!(stream.read_buf(&mut taken).await.is_ok_and(|bytes| bytes > 0), "it sends an entry");
        }
        // From here on nobody is there.
        drop(listener);
    };
    assert_eq!(ending(&url, take_one).await, Ending::Unknown);
    assert_eq!(ending(&url, async {}).await, Ending::NotStored, "nothing was sent");
}

#[tokio::test]
async fn a_load_that_goes_on_from_its_first_line_keeps_what_was_refused_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, rejects) = (file(directory.path(), "no json\n"), directory.path().join("refused.ndjson"));
    std::fs::write(&rejects, "earlier\n").expect("written");
    let rejects_flag = format!("--rejects={}", rejects.display());
    let refused = || std::fs::read_to_string(&rejects).expect("it is there");
    let interrupt = Interrupt::on_signal().expect("signals");

    let (begins, _) = parse(&[&file, &rejects_flag]);
    assert!(Job::open(&begins, interrupt.clone()).await.is_err(), "it does not write over it");
    assert_eq!(refused(), "earlier\n");

    let (goes_on, _) = parse(&[&file, &rejects_flag, "--from-line", "1"]);
    let mut job = Job::open(&goes_on, interrupt).await.expect("it goes on");
    let line = job.lines.next().await.expect("read").expect("a line");
    job.ledger.refuse_once(&line, line.entry.as_ref().expect_err("no entry")).expect("written");
    assert_eq!(refused(), "earlier\nno json\n");
}

#[test]
fn what_was_refused_is_told_apart_from_what_was_accepted() {
    let told = |counts: Counts| Summary::new(counts, Instant::now(), None).to_string();
    let counts = Counts { stored: 1_200, duplicate: 34, refused: 5, queued: 0 };
    let text = told(counts);
    assert!(text.starts_with("1,234 lines accepted in "), "{text}");
    assert!(text.ends_with(": 1,200 stored, 34 duplicate; 5 refused"), "{text}");
    let text = told(Counts { queued: 1, refused: 2, ..Counts::default() });
    assert!(text.starts_with("1 line accepted in ") && text.ends_with(": 1 queued; 2 refused"), "{text}");
    let summary = Summary::new(counts, Instant::now(), None);
    assert_eq!(summary.read, 1_239);
    assert!((summary.per_second - (1_234.0 / summary.seconds).round()).abs() < 1.0, "{summary:?}");
}
