//! The way of a group: over a connection that was lost meanwhile, to a commit of which nothing is heard, and to the
//! look at what has become of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use proto::Failure;

use super::{
    Postgres,
    cause::Cause,
    counter,
    schema::Schema,
    session::Session,
    write::{self, Broken, Committed, Witness},
};
use crate::store::{Answer, Batch};

/// When a group is answered at the latest of which it is not known whether it was committed. Clients wait for 5 s.
const ANSWER: Duration = Duration::from_millis(4_500);

/// How long it may take to find out why a group was refused.
const LOOK: Duration = Duration::from_secs(1);

/// Between two tries to look one up.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(50);

impl Postgres {
    /// Stores a group, and tells readers. It is answered as not stored, or as unknown, by what is certain.
    ///
    /// # Errors
    /// As [`Store::commit`](crate::store::Store::commit).
    pub(super) fn store(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let begun = Instant::now();
        let stored = self.try_store(group, begun);
        match stored {
            Ok(committed) => {
                self.committed_at = Some(Instant::now());
                self.news.committed(committed.last);
                Ok(committed.answers)
            }
            Err(failure) => {
                // They find nothing new, or what it has stored anyway.
                self.news.look();
                Err(failure)
            }
        }
    }

    fn try_store(&mut self, group: &[Batch], begun: Instant) -> Result<Committed, Failure> {
        let session = self.take_session()?;
        let committed = match self.run(write::commit(&session, group)) {
            Err(Broken::NotStored(cause)) if cause.is_loss() => {
                // It may have been closed long ago. Nothing was written: another connection may begin anew.
                tracing::debug!(%cause, "the connection is lost");
                drop(session);
                let session = self.take_session()?;
                let committed = self.run(write::commit(&session, group));
                self.session = Some(session);
                committed
            }
            committed => {
                self.session = Some(session);
                committed
            }
        };
        match committed {
            Ok(committed) => Ok(committed),
            Err(Broken::NotStored(cause)) => {
                let cause = self.explain(cause);
                if !cause.is_refusal() {
                    self.session = None;
                }
                Err(cause.not_stored())
            }
            Err(Broken::AtCommit { cause, then, witness }) => {
                self.session = None;
                tracing::warn!(error = %cause, "a commit is unknown: it is looked up");
                match self.look_up(witness, begun) {
                    Some(true) => Ok(then),
                    Some(false) => Err(cause.not_stored()),
                    None => Err(cause.unknown()),
                }
            }
        }
    }

    /// Why a number or an id was taken, if the tables say so.
    fn explain(&self, cause: Cause) -> Cause {
        let Some(session) = self.session.as_ref().filter(|_| cause.is_taken()) else { return cause };
        match self.run_within(LOOK, counter::look(&session.client)) {
            Err(unfit @ Cause::Unfit(_)) => unfit,
            Ok(()) | Err(_) => cause,
        }
    }

    /// Whether a transaction was committed of which nothing was heard; `None` if it cannot be told in time.
    fn look_up(&mut self, witness: Witness, begun: Instant) -> Option<bool> {
        loop {
            let left = ANSWER.saturating_sub(begun.elapsed()).max(LOOK_UP_AGAIN);
            let looked = async {
                let session = Session::open(&self.servers, Schema::MustBeThere).await?;
                let found = write::look_up(&session, witness).await?;
                Ok::<_, Cause>((session, found))
            };
            let looked = self.run_within(left, looked);
            match looked {
                Ok((session, found)) => {
                    tracing::info!(committed = found, "a commit that was unknown is looked up");
                    self.session = Some(session);
                    return Some(found);
                }
                Err(cause) if begun.elapsed() + LOOK_UP_AGAIN >= ANSWER => {
                    tracing::error!(error = %cause, "a commit stays unknown: its clients are told so");
                    return None;
                }
                Err(_) => thread::sleep(LOOK_UP_AGAIN),
            }
        }
    }
}
