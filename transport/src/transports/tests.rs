//! What the gathering stage makes of entries, before a logger that answers when the test says so.

use proto::EntryDraft;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    Endpoints,
    fake::{Answers, Logger, as_ours, refusal, until},
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Calls that are made before anything waits for others: 8 from callers, and 4 of the stage, which has nothing yet that
/// could go along.
const FILLED: usize = 12;

impl Logger {
    fn transports(&self, coalesce: bool) -> Arc<Transports> {
        Arc::new(Transports::new(&Settings {
            endpoints: Endpoints {
                logger_http_url: format!("http://{}", self.at).parse().expect("a URL"),
                logger_rpc_addr: "127.0.0.1:1".parse().expect("an address"),
                logger_grpc_url: "http://127.0.0.1:1".parse().expect("a URL"),
            },
            amqp_url: None,
            tls: None,
            coalesce,
            deadline: DEADLINE,
            came_by: None,
        }))
    }

    /// Hands over entries until the next ones have to wait for each other.
    async fn filled(&self, transports: &Arc<Transports>) -> Vec<JoinHandle<Told>> {
        let mut fillers = Vec::new();
        for already in 0..FILLED {
            fillers.push(write(transports, "good"));
            until("it is asked", || self.asked().len() == already + 1).await;
        }
        fillers
    }
}

/// What a caller was told: the outcome, or the code of the failure.
type Told = Result<Outcome, Code>;

fn write(transports: &Arc<Transports>, name: &str) -> JoinHandle<Told> {
    write_bytes(transports, name, 1)
}

fn write_bytes(transports: &Arc<Transports>, name: &str, data_bytes: usize) -> JoinHandle<Told> {
    let draft = EntryDraft { name: name.into(), data: "x".repeat(data_bytes), ..EntryDraft::default() };
    let entry = draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid");
    let transports = Arc::clone(transports);
    tokio::spawn(async move {
        let delivered = transports.write(Transport::Http, entry.into(), BatchMode::AllOrNone).await;
        let outcomes = delivered.and_then(Delivered::outcomes).map_err(|failure| failure.code)?;
        Ok(*outcomes.first())
    })
}

/// Hands over an entry of each name, which wait in this order.
async fn waiting(transports: &Arc<Transports>, names: &[&str]) -> Vec<JoinHandle<Told>> {
    let mut callers = Vec::new();
    for name in names {
        let before = transports.in_flight[Transport::Http].entries();
        callers.push(write(transports, name));
        until("it waits", || transports.in_flight[Transport::Http].entries() == before + 1).await;
    }
    callers
}

async fn told(callers: Vec<JoinHandle<Told>>) -> Vec<Told> {
    let mut all = Vec::new();
    for caller in callers {
        all.push(caller.await.expect("it does not panic"));
    }
    all
}

async fn all_are_stored(callers: Vec<JoinHandle<Told>>) {
    for told in told(callers).await {
        assert_eq!(told, Ok(Outcome::Stored));
    }
}

#[tokio::test]
async fn each_entry_of_a_group_gets_its_own_answer() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let callers = waiting(&transports, &["good", "conflict", "invalid", "good"]).await;
    logger.answers_all();
    let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Err(Code::InvalidEntry), Ok(Outcome::Stored)];
    assert_eq!(told(callers).await, expected);
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [4]);
    assert_eq!(transports.in_flight[Transport::Http].entries(), 0);
    assert_eq!(transports.in_flight[Transport::Http].calls(), (0, 0));
}

#[tokio::test]
async fn a_group_that_is_refused_as_a_whole_goes_again_one_by_one() {
    let refuses: [Answers; 3] = [
        |path: &str, names: &[String]| match path {
            "/logs" => (413, refusal(Code::TooLarge)),
            _ => as_ours(path, names),
        },
        |path: &str, names: &[String]| match path {
            "/logs" => (400, refusal(Code::BadBatch)),
            _ => as_ours(path, names),
        },
        |path: &str, names: &[String]| match path {
            "/logs" => (400, refusal(Code::BadJson)),
            _ => as_ours(path, names),
        },
    ];
    for answers in refuses {
        let logger = Logger::start(answers).await;
        let transports = logger.transports(true);
        let fillers = logger.filled(&transports).await;
        let callers = waiting(&transports, &["good", "conflict", "good"]).await;
        logger.answers_all();
        let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Ok(Outcome::Stored)];
        assert_eq!(told(callers).await, expected);
        all_are_stored(fillers).await;
        assert_eq!((logger.batches(), logger.asked().len()), (vec![3], FILLED + 1 + 3));
    }
}

#[tokio::test]
async fn to_a_logger_without_batches_entries_go_one_by_one_and_it_is_not_asked_again() {
    for status in [404, 405, 501] {
        let answers: Answers = match status {
            404 => |path, names| if path == "/log" { as_ours(path, names) } else { (404, json!("none")) },
            405 => |path, names| if path == "/log" { as_ours(path, names) } else { (405, json!("none")) },
            _ => |path, names| if path == "/log" { as_ours(path, names) } else { (501, json!("none")) },
        };
        let logger = Logger::start(answers).await;
        let transports = logger.transports(true);
        let fillers = logger.filled(&transports).await;
        let callers = waiting(&transports, &["good", "conflict", "good"]).await;
        logger.answers_all();
        let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Ok(Outcome::Stored)];
        assert_eq!(told(callers).await, expected, "{status}");
        all_are_stored(fillers).await;
        assert_eq!(logger.batches(), [3]);
        all_are_stored((0..100).map(|_| write(&transports, "good")).collect()).await;
        assert_eq!(logger.batches(), [3], "it was asked again");
        // What is to be stored as one cannot be.
        let entries: Vec<LogEntry> = (0..2).map(|_| entry()).collect();
        let batch = Batch::try_from(entries).expect("two");
        let refused = transports.write(Transport::Http, batch.clone(), BatchMode::AllOrNone).await;
        assert_eq!(refused.map_err(|failure| failure.code), Err(Code::Unavailable));
        let each = transports.write(Transport::Http, batch, BatchMode::Each).await.expect("each is sent");
        assert!(each.results.iter().all(|result| *result == Ok(Outcome::Stored)));
        assert_eq!(transports.ping(Direct::Http).await, Ok(()), "it is there");
    }
}

fn entry() -> LogEntry {
    let draft = EntryDraft { name: "good".into(), ..EntryDraft::default() };
    draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid")
}

#[tokio::test]
async fn a_call_that_fails_leaves_all_in_it_unknown() {
    let logger = Logger::start(|path, names| match path {
        "/logs" => (0, Value::Null),
        _ => as_ours(path, names),
    })
    .await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let callers = waiting(&transports, &["good", "good"]).await;
    logger.answers_all();
    assert_eq!(told(callers).await, [Err(Code::OutcomeUnknown); 2]);
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [2], "it was sent once");
}

#[tokio::test]
async fn who_hangs_up_cancels_nobody_and_is_left_out_if_nothing_was_sent_yet() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let mut callers = waiting(&transports, &["left out", "good", "sent", "conflict"]).await;
    callers.remove(0).abort();
    // Those that came first are answered, and one call of the stage, which then takes what waits.
    logger.may_answer.add_permits(9);
    until("the group is sent", || logger.batches() == [3]).await;
    callers.remove(1).abort();
    logger.answers_all();
    assert_eq!(told(callers).await, [Ok(Outcome::Stored), Err(Code::Conflict)]);
    all_are_stored(fillers).await;
}

#[tokio::test]
async fn a_large_entry_goes_by_itself_while_others_wait() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let small = waiting(&transports, &["good", "good"]).await;
    let large = write_bytes(&transports, "large", crate::gather::ALONE_BYTES);
    until("it is sent", || logger.asked().len() == FILLED + 1).await;
    assert_eq!(logger.asked()[FILLED], ("/log".to_owned(), vec!["large".to_owned()]));
    logger.answers_all();
    all_are_stored(small.into_iter().chain(fillers).chain([large]).collect()).await;
    assert_eq!(logger.batches(), [2]);
}

#[tokio::test]
async fn switched_off_every_entry_has_a_call_of_its_own() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(false);
    let callers: Vec<_> = (0..40).map(|_| write(&transports, "good")).collect();
    until("all are sent at once", || logger.asked().len() == callers.len()).await;
    assert!(logger.asked().iter().all(|(path, _)| path == "/log"));
    logger.answers_all();
    all_are_stored(callers).await;
}

#[tokio::test]
async fn what_waits_too_long_to_be_sent_is_certainly_not_stored() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let begun = Instant::now();
    let callers = waiting(&transports, &["good"]).await;
    assert_eq!(told(callers).await, [Err(Code::Overloaded)]);
    assert!(begun.elapsed() >= DEADLINE / PATIENCE_PART);
    logger.answers_all();
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [0_usize; 0]);
}
