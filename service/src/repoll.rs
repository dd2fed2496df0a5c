//! Polls a task again at once that was woken while it was polled.
//!
//! hyper wakes a connection from within its own poll once for each request with a body. tokio would queue it, and wake
//! another worker for that, which finds nothing to do: a system call and two context switches for each request.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls in a row; whoever wakes itself more often lets others run first.
const IN_A_ROW: usize = 4;

/// Nobody polls it.
const IDLE: u8 = 0;
/// It is polled.
const POLLED: u8 = 1;
/// It was woken, and will be polled.
const WOKEN: u8 = 2;

/// A future that is polled again at once when it was woken while it was polled.
#[derive(Debug)]
pub(crate) struct Repoll<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
    /// Of `woken`.
    waker: Waker,
}

/// Wakes the task, unless it is polled just now or was woken already.
#[derive(Debug)]
struct Woken {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

impl<F: Future> Repoll<F> {
    pub(crate) fn new(future: F) -> Self {
        let woken = Arc::new(Woken { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Repoll { future: Box::pin(future), waker: Waker::from(Arc::clone(&woken)), woken }
    }
}

impl<F: Future> Future for Repoll<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Repoll { future, woken, waker } = self.get_mut();
        woken.task.register(cx.waker());
        for _ in 0..IN_A_ROW {
            woken.state.swap(POLLED, Ordering::AcqRel);
            let polled = future.as_mut().poll(&mut Context::from_waker(waker));
            if polled.is_ready() {
                return polled;
            }
            let idle =
                woken.state.compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if idle {
                return Poll::Pending;
            }
        }
        // It stays woken: nobody else has to.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize};

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls it once; what it said, and how often its task was woken so far.
    fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> (Poll<F::Output>, usize) {
        let waker = Waker::from(Arc::clone(count));
        let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
        (polled, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_wakes_no_task() {
        let (mut polls, count) = (0, Arc::default());
        let mut future = Repoll::new(poll_fn(move |cx| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(polls);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        assert_eq!(poll(&mut future, &count), (Poll::Ready(3), 0));
    }

    #[test]
    fn what_always_wakes_itself_lets_others_run() {
        let (polls, count) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let mut future = Repoll::new(poll_fn({
            let polls = Arc::clone(&polls);
            move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            }
        }));
        for round in 1..=3 {
            assert_eq!(poll(&mut future, &count), (Poll::Pending, round));
            assert_eq!(polls.load(Ordering::Relaxed), round * IN_A_ROW);
        }
    }

    #[test]
    fn whoever_wakes_it_later_wakes_its_task_once() {
        let (kept, count) = (Arc::new(AtomicWaker::new()), Arc::default());
        let mut future = Repoll::new(poll_fn({
            let kept = Arc::clone(&kept);
            move |cx| {
                kept.register(cx.waker());
                Poll::<()>::Pending
            }
        }));
        for round in 1..=3 {
            assert_eq!(poll(&mut future, &count), (Poll::Pending, round - 1));
            let waker = kept.take().expect("it was registered");
            waker.wake_by_ref();
            waker.wake_by_ref();
            assert_eq!(count.0.load(Ordering::Relaxed), round, "the second time it is woken already");
        }
    }
}
