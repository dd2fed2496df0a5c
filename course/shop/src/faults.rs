//! What a network and a process do, on a button: refusals, slowness, lost answers, a `kill -9`. They break no promise.
//! And, in a build with the feature `faults` alone, what does break one, so that the tests are seen to notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tonic::{Request, Response, Status};

use crate::{
    pb::{FaultReply, FaultRequest, GetFaultRequest, faults_server},
    refusal::Refusal,
};

/// Longest a call is made slow, and an answer withheld: beyond every deadline.
const MOST_DELAY_MS: u32 = 30_000;

/// What happens to the calls of this process, until something else is set.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Debug, Default)]
struct State {
    refuse: AtomicU32,
    slow_ms: AtomicU32,
    lose_percent: AtomicU32,
    calls: AtomicU64,
}

impl Faults {
    /// Whether money is refused for no reason of the buyer's.
    pub fn refuses(&self) -> bool {
        self.0.refuse.load(Ordering::Relaxed) > 0
    }

    /// Does the work of a call, as the fault of the moment has it.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn around<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let slow = self.0.slow_ms.load(Ordering::Relaxed);
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(slow.into())).await;
        }
        let done = work.await;
        if self.is_lost() {
            // The caller gives up before; its call is dropped then.
            tokio::time::sleep(Duration::from_millis(MOST_DELAY_MS.into())).await;
        }
        done
    }

    /// Spread evenly: of a hundred calls exactly so many.
    fn is_lost(&self) -> bool {
        let percent = u64::from(self.0.lose_percent.load(Ordering::Relaxed));
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed);
        percent > 0 && (call * percent) % 100 < percent
    }

    /// What is set.
    fn current(&self) -> FaultReply {
        let delay_ms = self.0.slow_ms.load(Ordering::Relaxed);
        let percent = self.0.lose_percent.load(Ordering::Relaxed);
        let fault = if self.refuses() {
            "refuse"
        } else if delay_ms > 0 {
            "slow"
        } else if percent > 0 {
            "lose"
        } else {
            "none"
        };
        FaultReply { fault: fault.to_owned(), percent, delay_ms }
    }

    fn set(&self, request: &FaultRequest) -> Result<(), Refusal> {
        let FaultRequest { fault, percent, delay_ms } = request;
        if *percent > 100 || *delay_ms > MOST_DELAY_MS {
            let most = format!("expected a percent of at most 100 and a delay of at most {MOST_DELAY_MS} ms");
            return Err(Refusal::Invalid(most));
        }
        let (refuse, slow, lose) = match fault.as_str() {
            "none" => (0, 0, 0),
            "refuse" => (1, 0, 0),
            "slow" => (0, *delay_ms, 0),
            "lose" => (0, 0, *percent),
            "kill" => {
                // As the kernel does it when memory is short: without a chance to say goodbye.
                let _ = kill(Pid::this(), Signal::SIGKILL);
                (0, 0, 0)
            }
            _ => return Err(Refusal::Invalid("`fault`: expected none, refuse, slow, lose or kill".into())),
        };
        self.0.refuse.store(refuse, Ordering::Relaxed);
        self.0.slow_ms.store(slow, Ordering::Relaxed);
        self.0.lose_percent.store(lose, Ordering::Relaxed);
        tracing::warn!(fault, "a fault is set");
        Ok(())
    }
}

#[tonic::async_trait]
impl faults_server::Faults for Faults {
    async fn set(&self, request: Request<FaultRequest>) -> Result<Response<FaultReply>, Status> {
        Faults::set(self, &request.into_inner())?;
        Ok(Response::new(self.current()))
    }

    async fn get(&self, _: Request<GetFaultRequest>) -> Result<Response<FaultReply>, Status> {
        Ok(Response::new(self.current()))
    }
}

/// A promise that a build with the feature `faults` can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Broken {
    /// An order is compensated before it is decided.
    DecideLast,
    /// A cancellation of what is not known leaves nothing.
    NoTombstone,
    /// A capture that is asked for again takes the money again.
    CaptureTwice,
    /// Money is looked at first, and taken later.
    CheckThenPay,
}

#[cfg(feature = "faults")]
static CHOSEN: std::sync::OnceLock<Broken> = std::sync::OnceLock::new();

/// Breaks it for the life of the process.
#[cfg(feature = "faults")]
pub fn choose(broken: Option<Broken>) {
    if let Some(broken) = broken {
        tracing::error!(?broken, "THIS BUILD BREAKS A PROMISE ON PURPOSE: use it for nothing but tests");
        let _ = CHOSEN.set(broken);
    }
}

/// Whether it is broken.
#[cfg(feature = "faults")]
pub fn is(broken: Broken) -> bool {
    CHOSEN.get() == Some(&broken)
}

/// Never, in this build.
#[cfg(not(feature = "faults"))]
pub const fn is(_: Broken) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_lost_evenly() {
        let faults = Faults::default();
        let lose = |percent| FaultRequest { fault: "lose".to_owned(), percent, delay_ms: 0 };
        faults.set(&lose(20)).expect("valid");
        assert_eq!((0..200).filter(|_| faults.is_lost()).count(), 40);
        assert!(faults.set(&lose(101)).is_err());
    }

    #[test]
    fn what_is_set_last_is_what_is_told() {
        let faults = Faults::default();
        assert_eq!(faults.current().fault, "none");
        for (fault, percent, delay_ms) in
            [("refuse", 0, 0), ("slow", 0, 3_000), ("lose", 50, 0), ("none", 0, 0)]
        {
            faults.set(&FaultRequest { fault: fault.to_owned(), percent, delay_ms }).expect("valid");
            assert_eq!(faults.current(), FaultReply { fault: fault.to_owned(), percent, delay_ms });
        }
    }
}
