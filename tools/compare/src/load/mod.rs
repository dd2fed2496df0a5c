//! Load on the broker: callers as fast as they are answered (closed loop), or arrivals from a schedule that nothing
//! slows down (open loop).
//!
//! In an open loop latency counts from the moment that a request was due. A stall then costs every request that was
//! due meanwhile, as it does in life; a closed loop sends nothing during a stall, and notes it once.

mod connection;
mod request;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use connection::Connection;
use request::Request;

use crate::workload::{BASE_PAYLOAD, Ending, Shape, Subject};

/// Beyond the broker's own deadline, so that it is the broker that gives up.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long after the end of the schedule what is late may still be sent.
const LATE: Duration = Duration::from_secs(5);

/// A stall so long still finds free callers, up to the most.
const STALL: Duration = Duration::from_secs(4);

/// Most callers: each is a thread.
pub const MAX_CALLERS: usize = 512;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the broker is.
    pub broker: SocketAddr,
    /// What is asked of it.
    pub subject: Subject,
    /// How requests come.
    pub shape: Shape,
    /// Bytes of `data` of each entry.
    pub payload_bytes: usize,
    /// Entries of each request.
    pub batch: usize,
    /// For how long requests are due.
    pub duration: Duration,
    /// The name of the entries, by which they are found again.
    pub name: String,
    /// Makes the text and the schedule again.
    pub seed: u64,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was due, since the start of the load.
    pub due: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When its answer was there.
    pub answered: Duration,
    /// What became of it.
    pub ending: Ending,
}

impl Sample {
    /// From due to answered. What was never sent counts as at least what was waited for it.
    pub fn latency(&self) -> Duration {
        self.answered.saturating_sub(self.due)
    }
}

/// What a load has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The requests, in no order.
    pub samples: Vec<Sample>,
    /// The ids of the entries: those of the first request, then those of the second, and so on.
    pub ids: Vec<Uuid>,
    /// The texts of the entries of each request, in order.
    pub texts: Arc<[String]>,
    /// The way that the entries went; `None` for those that were only echoed.
    pub transport: Option<Transport>,
    /// The begin, by the clock that the logger stamps with as well.
    pub begun_at: Option<SystemTime>,
}

impl Seen {
    /// Entries of each request.
    pub fn batch(&self) -> usize {
        self.texts.len()
    }

    /// The ids of a request, by its position in `samples`.
    pub fn ids_of(&self, position: usize) -> &[Uuid] {
        &self.ids[position * self.batch()..][..self.batch()]
    }

    fn merge(&mut self, other: Seen) {
        self.samples.extend(other.samples);
        self.ids.extend(other.ids);
    }
}

impl Load {
    /// One of single entries of [`BASE_PAYLOAD`], whose name nobody else has.
    pub fn new(broker: SocketAddr, subject: Subject, shape: Shape, duration: Duration) -> Self {
        Load {
            broker,
            subject,
            shape,
            payload_bytes: BASE_PAYLOAD,
            batch: 1,
            duration,
            name: format!("compare-{}", Uuid::now_v7().simple()),
            seed: 0,
        }
    }

    /// As [`Load::run`], beside whatever else there is to do: the callers have threads of their own, and the runtime must
    /// not wait for them.
    ///
    /// # Errors
    /// If it panicked.
    pub async fn run_beside(&self) -> anyhow::Result<Seen> {
        let load = self.clone();
        Ok(tokio::task::spawn_blocking(move || load.run()).await?)
    }

    /// Runs it; blocks until all is answered.
    pub fn run(&self) -> Seen {
        let schedule = self.schedule();
        let next = AtomicUsize::new(0);
        let callers = match self.shape {
            Shape::Closed { callers } => callers,
            // By Little's law as many as are busy when each answer takes so long: a stall finds free callers.
            Shape::Open { rate } => (rate * STALL.as_secs_f64()).ceil().max(64.0) as usize,
        };
        let callers = callers.clamp(1, MAX_CALLERS);
        let request =
            Request::new(self.broker, self.subject, &self.name, self.payload_bytes, self.batch, self.seed);
        // Connections first: what they cost is not what is measured here.
        let connections = (0..callers).map(|_| {
            let mut connection = Connection::new(self.broker, TIMEOUT);
            // One that cannot be opened now shows as broken at its first request.
            let _ = connection.open();
            connection
        });
        let connections: Vec<Connection> = connections.collect();
        let clock = Clock { begun: Instant::now(), end: self.duration };
        let transport = match self.subject {
            Subject::Transport(transport) => Some(transport),
            Subject::Echo => None,
        };
        let mut seen =
            Seen { texts: request.texts(), transport, begun_at: Some(SystemTime::now()), ..Seen::default() };
        thread::scope(|scope| {
            let callers = connections.into_iter().map(|connection| {
                let caller = Caller { connection, request: request.clone(), clock, seen: Seen::default() };
                let (schedule, next) = (schedule.as_deref(), &next);
                scope.spawn(move || match schedule {
                    Some(schedule) => caller.keep_to(schedule, next),
                    None => caller.hurry(),
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                match caller.join() {
                    Ok(own) => seen.merge(own),
                    // What it has sent would be missing: no figure is better than a wrong one.
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        for due in schedule.iter().flat_map(|schedule| schedule.iter().skip(next.load(Ordering::Relaxed))) {
            let given_up = clock.begun.elapsed();
            seen.samples.push(Sample {
                due: *due,
                sent: given_up,
                answered: given_up,
                ending: Ending::Unsent,
            });
            seen.ids.extend(std::iter::repeat_n(Uuid::nil(), self.batch));
        }
        seen
    }

    /// When requests are due, in order; `None` for a closed loop.
    fn schedule(&self) -> Option<Vec<Duration>> {
        let Shape::Open { rate } = self.shape else { return None };
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut due = 0.0;
        let mut schedule = Vec::new();
        loop {
            // The gaps between independent arrivals.
            due -= (1.0 - random.random::<f64>()).ln() / rate;
            if due >= self.duration.as_secs_f64() {
                return Some(schedule);
            }
            schedule.push(Duration::from_secs_f64(due));
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    begun: Instant,
    end: Duration,
}

struct Caller {
    connection: Connection,
    request: Request,
    clock: Clock,
    seen: Seen,
}

impl Caller {
    /// Sends the next when the last is answered, until the time is up; at least one.
    fn hurry(mut self) -> Seen {
        loop {
            self.send(self.clock.begun.elapsed());
            if self.clock.begun.elapsed() >= self.clock.end {
                return self.seen;
            }
        }
    }

    /// Takes the next that is due, waits for its moment, and sends it.
    fn keep_to(mut self, schedule: &[Duration], next: &AtomicUsize) -> Seen {
        // A late wake-up counts as latency: 1 ns instead of the usual 50 µs. Where it is not to be had, it is late.
        let _ = nix::sys::prctl::set_timerslack(1);
        while self.clock.begun.elapsed() < self.clock.end + LATE {
            let Some(due) = schedule.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            thread::sleep(due.saturating_sub(self.clock.begun.elapsed()));
            self.send(*due);
        }
        self.seen
    }

    fn send(&mut self, due: Duration) {
        let request = self.request.renew(&mut self.seen.ids);
        let sent = self.clock.begun.elapsed();
        let ending = match self.connection.exchange(request) {
            Ok(answer) => Ending::of_status(answer.status),
            Err(_) => {
                // A broker that is gone is not asked a hundred thousand times a second.
                thread::sleep(Duration::from_millis(10));
                Ending::Broken
            }
        };
        let answered = self.clock.begun.elapsed();
        self.seen.samples.push(Sample { due, sent, answered, ending });
    }
}

#[cfg(test)]
mod tests;
