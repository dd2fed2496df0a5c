//! The gathering stage: which entries wait to go along with others, and the tasks that make the calls for them.
//!
//! An entry that finds little under way goes by a call of its own, from the task of its caller. Others wait until one of a
//! few tasks is free, which takes what has gathered as one call: an entry that shares a call costs both ends a fraction
//! of one that has its own. These calls are never a caller's, so who hangs up cancels nobody.

use std::{convert::Infallible, sync::Arc};

use proto::{Batch, Direct, LogEntry};
use tokio::task::JoinSet;

use crate::{
    LOGGER,
    admission::Admission,
    gather::{ALONE_BYTES, Groups, Queue},
    loggers::Loggers,
};

/// Calls for groups at a time over one transport: more than one, so that a call that is stuck does not hold everybody up.
/// More than four make the groups smaller.
const GROUP_CALLS: usize = 4;

/// With fewer entries than this under way, one goes by itself. Groups would be of one or two, which pay for the way
/// through another task and save no call: with 8 clients http lost 11 % and grpc 10 % by them.
const FEW_ENTRIES: usize = 8;

/// The stage of one direct transport.
#[derive(Debug)]
pub(crate) struct Stage {
    direct: Direct,
    /// `None`: every entry has a call of its own.
    queue: Option<Queue>,
    _senders: JoinSet<Infallible>,
}

impl Stage {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(direct: Direct, loggers: &Arc<Loggers>, admission: &Admission, coalesce: bool) -> Self {
        let calls = admission.room_for_calls();
        let queue = coalesce.then(|| Queue::new(direct.into(), LOGGER, true, Some(calls)));
        let mut senders = JoinSet::new();
        if let Some(queue) = &queue {
            for _ in 0..GROUP_CALLS {
                senders.spawn(send_groups(Arc::clone(loggers), direct, queue.groups()));
            }
        }
        Stage { direct, queue, _senders: senders }
    }

    /// The queue, if the batch is to wait in it. An entry that is in a trace has a call of its own: two callers' spans
    /// cannot both be the one that a call is made in.
    pub(crate) fn queue_for(
        &self,
        batch: &Batch<LogEntry>,
        admission: &Admission,
        loggers: &Loggers,
    ) -> Option<&Queue> {
        let queue = self.queue.as_ref()?;
        let goes_along = batch.as_one().is_some_and(|entry| entry.payload_bytes() <= ALONE_BYTES)
            && admission.entries() >= FEW_ENTRIES
            && spans::current_id().is_none()
            && loggers.takes_batches(self.direct);
        goes_along.then_some(queue)
    }
}

/// Makes the calls for groups, one after the other, for as long as the client lives.
async fn send_groups(loggers: Arc<Loggers>, direct: Direct, groups: Arc<Groups>) -> Infallible {
    loop {
        let group = groups.next().await;
        loggers.send(direct, group).await;
    }
}
