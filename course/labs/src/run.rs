//! One run of a check: its properties in order, each judged once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    catalogue::Lab,
    program::Signs,
    verdict::{Failed, Finding, NotTried, Status, Unusable, why},
    watchdog::Watchdog,
    words::{Text, seconds, text},
};

/// What of a check is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// One property alone.
    pub only: Option<u32>,
    /// The others too after a failure.
    pub all: bool,
    /// A property that is taken out of the check: `lab verify` must notice.
    pub without: Option<u32>,
}

/// The run ends here: a property did not hold. What was found is in [`Run::findings`].
#[derive(Debug)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped at the first failure")
    }
}

impl std::error::Error for Stopped {}

/// Is shown each finding as it is made.
pub type Show<'a> = &'a (dyn Fn(&Lab, &Finding) + Send + Sync);

/// A run.
pub struct Run<'a> {
    wanted: Wanted,
    watchdog: &'a Watchdog,
    signs: Arc<Signs>,
    /// What is left of the limit. It is for the properties: how soon RabbitMQ starts says nothing of the program.
    left: Duration,
    limit: Duration,
    show: Show<'a>,
    lab: &'a Lab,
    findings: Vec<Finding>,
    stalled: Duration,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("lab", &self.lab.number)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

impl<'a> Run<'a> {
    /// One of a lab.
    pub fn new(
        lab: &'a Lab,
        wanted: Wanted,
        watchdog: &'a Watchdog,
        signs: Arc<Signs>,
        limit: Duration,
        show: Show<'a>,
    ) -> Self {
        let (findings, stalled) = (Vec::new(), Duration::ZERO);
        Run { wanted, watchdog, signs, left: limit, limit, show, lab, findings, stalled }
    }

    /// Tries a property. A [`Failed`] is the program's; any other error is ours, and so the verdict is unknown; and so it
    /// is if the machine stalled meanwhile.
    ///
    /// # Errors
    /// [`Stopped`] if it does not hold and the others are not wanted, [`Unusable`] if the program cannot start.
    pub async fn property(
        &mut self,
        id: u32,
        check: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let left_out = self.wanted.without == Some(id) || self.wanted.only.is_some_and(|only| only != id);
        if left_out {
            return Ok(());
        }
        let begun = Instant::now();
        let checked = tokio::time::timeout(self.left, check()).await;
        let took = begun.elapsed();
        let mut finding = match checked {
            Ok(Err(error)) if error.is::<Unusable>() => return Err(error),
            Ok(outcome) => finding(id, outcome, took),
            Err(_) => {
                let limit_s = self.limit.as_secs();
                let late =
                    text!("the check took longer than {limit_s} s", "проверка заняла больше {limit_s} с");
                Finding { id, status: Status::Unknown, failed: None, message: Some(late), took }
            }
        };
        self.left = self.left.saturating_sub(took);
        if finding.status != Status::Pass
            && finding.status != Status::NotTried
            && let Some(stall) = self.watchdog.longest_since(begun).await
        {
            self.stalled = self.stalled.max(stall);
            finding.status = Status::Unknown;
            let Text { en, ru } = seconds(stall);
            finding.message = Some(text!("your machine stalled for {en}", "машина замирала на {ru}"));
        }
        if let Some(failed) =
            finding.failed.take_if(|failed| failed.guess.is_none() && self.signs.is_silent())
        {
            finding.failed = Some(failed.guess(text!(
                "standard output is empty: do you flush after each line?",
                "стандартный вывод пуст: сбрасываете ли вы буфер после каждой строки?",
            )));
        }
        (self.show)(self.lab, &finding);
        let goes_on = self.wanted.all || matches!(finding.status, Status::Pass | Status::NotTried);
        self.findings.push(finding);
        if goes_on { Ok(()) } else { Err(Stopped.into()) }
    }

    /// Whether a property is to be tried, for a preparation that it alone needs.
    pub fn wants(&self, ids: &[u32]) -> bool {
        ids.iter()
            .any(|id| self.wanted.only.is_none_or(|only| only == *id) && self.wanted.without != Some(*id))
    }

    /// What was found, in the order of the properties, those that were not tried too; and the longest stall.
    pub fn findings(self) -> (Vec<Finding>, Duration) {
        let found = |id| self.findings.iter().find(|finding| finding.id == id).cloned();
        let all = self.lab.properties.iter().map(|property| property.id);
        (all.map(|id| found(id).unwrap_or_else(|| Finding::not_tried(id))).collect(), self.stalled)
    }
}

fn finding(id: u32, outcome: anyhow::Result<()>, took: Duration) -> Finding {
    let Err(error) = outcome else {
        return Finding { id, status: Status::Pass, failed: None, message: None, took };
    };
    if let Some(reason) = error.downcast_ref::<NotTried>() {
        return Finding { took, message: Some(reason.0.clone()), ..Finding::not_tried(id) };
    }
    match error.downcast::<Failed>() {
        Ok(failed) => Finding { id, status: Status::Fail, failed: Some(failed), message: None, took },
        Err(error) => {
            let message = Some(why(&error));
            Finding { id, status: Status::Unknown, failed: None, message, took }
        }
    }
}
