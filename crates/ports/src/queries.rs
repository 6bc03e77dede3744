//! How many statements the store was sent on somebody's behalf. Stores count, whoever wants to know asks: the counter
//! travels with a future, so that no port has to pass it on.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

thread_local! {
    /// The counter of the future that this thread polls.
    static CURRENT: RefCell<Option<Queries>> = const { RefCell::new(None) };
}

/// A counter of statements.
#[derive(Debug, Clone, Default)]
pub struct Queries(Arc<AtomicU32>);

/// Puts back what was there before, however the poll ends.
struct Restore(Option<Queries>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = self.0.take());
    }
}

impl Queries {
    /// The counter that counts here, or a new one that nobody reads.
    pub fn current() -> Self {
        CURRENT.with_borrow(Option::clone).unwrap_or_default()
    }

    /// How many statements were sent.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts what a future sends. What it spawns is not counted, unless it hands its counter on.
    pub fn of<F: Future>(self, future: F) -> Counting<F> {
        Counting { queries: self, future }
    }
}

pin_project! {
    /// A future whose statements are counted. A type of its own, since an `async` block that awaits what it was given has
    /// room for it twice, and calls to models are large.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Counting<F> {
        queries: Queries,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Counting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let before = CURRENT.with_borrow_mut(|current| current.replace(this.queries.clone()));
        let _restore = Restore(before);
        this.future.poll(context)
    }
}

/// For stores: a statement is sent. Beginning a transaction and committing it are statements too.
pub fn query_sent() {
    CURRENT.with_borrow(|current| {
        if let Some(queries) = current {
            queries.0.fetch_add(1, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    /// Sends a statement at each poll, and is done with the third.
    fn three() -> impl Future<Output = ()> {
        let mut left = 3;
        poll_fn(move |_| {
            query_sent();
            left -= 1;
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    #[test]
    fn each_future_has_its_own_count() {
        let (a, b) = (Queries::default(), Queries::default());
        let (mut first, mut second) = (Box::pin(a.clone().of(three())), Box::pin(b.clone().of(three())));
        let mut context = Context::from_waker(Waker::noop());
        query_sent();
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(first.as_mut().poll(&mut context).is_pending());
        query_sent();
        assert_eq!((a.count(), b.count()), (2, 1));
        assert!(first.as_mut().poll(&mut context).is_ready());
        assert_eq!((a.count(), b.count()), (3, 1));
        assert_eq!(Queries::current().count(), 0);
    }

    #[test]
    fn a_counter_is_handed_on_inside() {
        let outer = Queries::default();
        let inside = outer.clone().of(async {
            query_sent();
            Queries::current().of(three()).await;
            query_sent();
        });
        let mut inside = Box::pin(inside);
        let mut context = Context::from_waker(Waker::noop());
        while inside.as_mut().poll(&mut context).is_pending() {}
        assert_eq!(outer.count(), 5);
    }
}
