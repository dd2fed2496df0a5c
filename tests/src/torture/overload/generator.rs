//! Sends entries at the times that a schedule says, whatever the answers do, from a thread of its own.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use proto::{Level, Transport};
use rig::{
    Ledger,
    ledger::{Content, Fate},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{LocalSet, spawn_local},
};
use uuid::Uuid;

use super::connection::Connection;
use crate::torture::figures::percentile;

/// Most requests that wait for an answer at a time, if there are file descriptors for them: nearly as many as the
/// broker takes connections. What would be one more is not sent, and counted as that: beyond its connections a port
/// leaves clients waiting in the kernel, where nobody can answer them.
const OUTSTANDING: usize = 4_000;

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(1);

/// How long a request may go without an answer: the broker's deadline, and two seconds for the way to it.
const PATIENCE: Duration = Duration::from_secs(7);

/// So many answers in a row at the usual speed are normal again.
const NORMAL_ANSWERS: usize = 20;

/// How long to wait for normality.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// The name and the text of every entry: what comes back otherwise was altered.
const NAME: &str = "overload";
const DATA: &str = "GET /orders/4711 200 in 12 ms; customer 0815; 3 items; cache miss; upstream 10.0.0.7:8443; retries 0; \
     trace 4bf92f3577b34da6a3ce929d0e0e4736; and some more words, for a line of a log has two hundred bytes";

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// So many callers, each as fast as it is answered.
    Closed { callers: usize, lasting: Duration },
    /// So many entries in a second. Then one caller probes until its answers take no longer than `normal`.
    Open { per_second: f64, lasting: Duration, normal: Duration },
}

/// What came of a stage.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Sent in time.
    pub(super) sent: u64,
    /// Due, but not sent: too many were outstanding, or the generator was behind.
    pub(super) unsent: u64,
    /// Accepted while the stage lasted.
    pub(super) in_time: u64,
    /// Refused with 503 and `Retry-After`.
    pub(super) refused: u64,
    /// Every other answer but 202, by its kind.
    pub(super) others: BTreeMap<String, u64>,
    /// How long those that were accepted took since they were due, in the order of their answers.
    pub(super) took: Vec<Duration>,
    /// When answers were normal again, after the end of the load.
    pub(super) recovered: Option<Duration>,
}

impl Tally {
    /// Of those that were accepted.
    pub(super) fn percentile(&mut self, percent: usize) -> Duration {
        self.took.sort_unstable();
        percentile(&self.took, percent).unwrap_or_default()
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Generator {
    stages: mpsc::UnboundedSender<(Stage, oneshot::Sender<Tally>)>,
    thread: JoinHandle<Ledger>,
}

impl Generator {
    /// Starts it, on a core of its own if there is one for it.
    pub(super) fn start(broker: SocketAddr, transport: Transport, core: Option<usize>) -> Self {
        let (stages, mut orders) = mpsc::unbounded_channel::<(Stage, oneshot::Sender<Tally>)>();
        let thread = std::thread::spawn(move || {
            if let Some(core) = core {
                let mut own = CpuSet::new();
                own.set(core).expect("a core");
                sched_setaffinity(Pid::from_raw(0), &own).expect("the core is there");
            }
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let sender = Rc::new(Sender {
                broker,
                transport,
                idle: RefCell::default(),
                outstanding: Cell::new(0),
                most_outstanding: OUTSTANDING.min(service::descriptors::raise() / 2),
                content: Content::of(NAME, DATA, Level::default()),
                ledger: RefCell::default(),
            });
            LocalSet::new().block_on(&runtime, async {
                while let Some((stage, reply)) = orders.recv().await {
                    // Whoever asked is gone only with the whole trial.
                    let _ = reply.send(run(&sender, stage).await);
                }
            });
            Rc::into_inner(sender).expect("every request has ended").ledger.into_inner()
        });
        Generator { stages, thread }
    }

    pub(super) async fn run(&self, stage: Stage) -> Tally {
        let (reply, tally) = oneshot::channel();
        self.stages.send((stage, reply)).expect("the generator runs");
        tally.await.expect("the generator answers")
    }

    /// Ends it, and says what became of each entry.
    pub(super) fn finish(self) -> Ledger {
        drop(self.stages);
        self.thread.join().expect("the generator does not panic")
    }
}

struct Sender {
    broker: SocketAddr,
    transport: Transport,
    /// The one that was used last comes first, so that those which are not needed grow old and are closed.
    idle: RefCell<Vec<Connection>>,
    /// Of the open loop.
    outstanding: Cell<usize>,
    most_outstanding: usize,
    content: Content,
    ledger: RefCell<Ledger>,
}

/// A stage that goes on.
struct Running {
    tally: RefCell<Tally>,
    ends: Instant,
}

async fn run(sender: &Rc<Sender>, stage: Stage) -> Tally {
    let begun = Instant::now();
    let lasting = match stage {
        Stage::Closed { lasting, .. } | Stage::Open { lasting, .. } => lasting,
    };
    let running = Rc::new(Running { tally: RefCell::default(), ends: begun + lasting });
    match stage {
        Stage::Closed { callers, .. } => {
            for _ in 0..callers {
                let (sender, running) = (Rc::clone(sender), Rc::clone(&running));
                spawn_local(async move {
                    while Instant::now() < running.ends {
                        sender.send(Instant::now(), &running).await;
                    }
                });
            }
            tokio::time::sleep(lasting).await;
        }
        Stage::Open { per_second, normal, .. } => {
            offer(sender, &running, begun, per_second).await;
            let recovered = recover(sender, running.ends, normal).await;
            running.tally.borrow_mut().recovered = recovered;
        }
    }
    // Every request ends by itself.
    while Rc::strong_count(&running) > 1 {
        tokio::time::sleep(TICK).await;
    }
    Rc::into_inner(running).expect("nobody else has it").tally.into_inner()
}

async fn offer(sender: &Rc<Sender>, running: &Rc<Running>, begun: Instant, per_second: f64) {
    let mut interval = tokio::time::interval(TICK);
    let mut scheduled = 0_u64;
    let due = |now: Instant| (per_second * now.duration_since(begun).as_secs_f64()) as u64;
    loop {
        interval.tick().await;
        let now = Instant::now();
        if now >= running.ends {
            break;
        }
        while scheduled < due(now) {
            scheduled += 1;
            // Its clock starts here, however late it is sent: else a stall would hide what it has held up.
            let due_at = begun + Duration::from_secs_f64(scheduled as f64 / per_second);
            if sender.outstanding.get() >= sender.most_outstanding {
                running.tally.borrow_mut().unsent += 1;
                continue;
            }
            let (sender, running) = (Rc::clone(sender), Rc::clone(running));
            // From now on, and not when the task begins: a tick that comes late makes many at once.
            sender.outstanding.set(sender.outstanding.get() + 1);
            spawn_local(async move {
                sender.send(due_at, &running).await;
                sender.outstanding.set(sender.outstanding.get() - 1);
            });
        }
    }
    running.tally.borrow_mut().unsent += due(running.ends).saturating_sub(scheduled);
}

/// One caller after the load: when its answers were normal again.
async fn recover(sender: &Sender, ended: Instant, normal: Duration) -> Option<Duration> {
    let mut since = ended;
    let mut in_a_row = 0;
    while ended.elapsed() < RECOVERY_TIMEOUT {
        let begun = Instant::now();
        let fate = sender.exchange(begun, None).await;
        if fate == Fate::Accepted && begun.elapsed() <= normal {
            in_a_row += 1;
            if in_a_row == NORMAL_ANSWERS {
                return Some(since.duration_since(ended));
            }
        } else {
            in_a_row = 0;
            since = Instant::now();
        }
    }
    None
}

impl Sender {
    async fn send(&self, due: Instant, running: &Running) {
        running.tally.borrow_mut().sent += 1;
        self.exchange(due, Some(running)).await;
    }

    async fn exchange(&self, due: Instant, running: Option<&Running>) -> Fate {
        let (id, transport) = (Uuid::now_v7(), self.transport);
        let place = self.ledger.borrow_mut().sending(id, self.content, transport);
        let body = format!(
            r#"{{"action":"log","transport":"{transport}","log":{{"id":"{id}","name":"{NAME}","data":"{DATA}"}}}}"#
        );
        let answered = tokio::time::timeout(PATIENCE, self.post(&body)).await;
        let (fate, kind) = match answered {
            Ok(Ok((202, _))) => (Fate::Accepted, None),
            Ok(Ok((503, true))) => (Fate::Refused, None),
            Ok(Ok((503, false))) => (Fate::Refused, Some("503 without Retry-After".to_owned())),
            Ok(Ok((status, _))) => (Fate::Unknown, Some(status.to_string())),
            Ok(Err(error)) => (Fate::Unknown, Some(error.kind().to_string())),
            // What hangs stays unanswered.
            Err(_) => (Fate::Unanswered, Some("no answer".to_owned())),
        };
        self.ledger.borrow_mut().answered(place, fate, due.elapsed());
        if let Some(running) = running {
            let mut tally = running.tally.borrow_mut();
            match (fate, kind) {
                (_, Some(kind)) => *tally.others.entry(kind).or_default() += 1,
                (Fate::Accepted, None) => {
                    tally.in_time += u64::from(Instant::now() <= running.ends);
                    tally.took.push(due.elapsed());
                }
                (Fate::Refused | Fate::Unanswered | Fate::Unknown, None) => tally.refused += 1,
            }
        }
        fate
    }

    async fn post(&self, body: &str) -> std::io::Result<(u16, bool)> {
        let (connection, answer) = loop {
            let idle = self.idle.borrow_mut().pop();
            let Some(mut connection) = idle else {
                let mut connection = Connection::open(self.broker).await?;
                let answer = connection.post(body).await?;
                break (connection, answer);
            };
            // An error is no answer: it was closed while it idled, as any server may, and the id makes the repetition
            // safe. A new one is opened only when no other is left: there are never more than requests.
            if let Ok(answer) = connection.post(body).await {
                break (connection, answer);
            }
        };
        if !answer.closes {
            self.idle.borrow_mut().push(connection);
        }
        Ok((answer.status, answer.retry_after))
    }
}
