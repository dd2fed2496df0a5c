//! Ctrl-C, and SIGTERM: the first asks to come to an end in good order, the second insists.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How often one was asked to stop. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<u8>);

impl Interrupt {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn on_signal() -> anyhow::Result<Self> {
        let (mut interrupts, mut terminations) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (count, receiver) = watch::channel(0_u8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                count.send_modify(|count| *count = count.saturating_add(1));
            }
        });
        Ok(Interrupt(receiver))
    }

    /// Waits until one is asked to stop.
    pub(crate) async fn begun(&self) {
        self.reached(1).await;
    }

    /// Waits until one is asked again.
    pub(crate) async fn insisted(&self) {
        self.reached(2).await;
    }

    /// Whether one was asked to stop.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow() > 0
    }

    async fn reached(&self, count: u8) {
        // Without its task, which never ends, there would be no more signals.
        if self.0.clone().wait_for(|counted| *counted >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
