//! Combining futures, in a fixed order: the first named is polled first, and wins a tie.
//!
//! The `select!` of the usual libraries picks a branch at random; these never do.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

/// Which of two futures came first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Either<A, B> {
    /// The first named.
    First(A),
    /// The second named.
    Second(B),
}

/// Runs both and gives the result of the one that ends first; the other is dropped. The first named wins a tie.
pub async fn race<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(a) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(a));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}

/// Runs both to their ends.
pub async fn join<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut a, mut b) = (None, None);
    poll_fn(|cx| {
        if a.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(cx)
        {
            a = Some(value);
        }
        if b.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(cx)
        {
            b = Some(value);
        }
        if a.is_some() && b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (a.expect("it has ended"), b.expect("it has ended"))
}

/// Runs all to their ends; results in the order of the futures. Each wake-up polls all that have not ended: for dozens.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *result = Some(value),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    results.into_iter().map(|r| r.expect("all have ended")).collect()
}

/// Gives way once: the task goes to the end of the ready queue. No virtual time passes.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{future::ready, task::Context};

    use super::*;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_first_named_of_a_race_wins_a_tie_and_the_second_is_not_even_polled() {
        let second = poll_fn(|_| -> Poll<()> { panic!("the first was ready") });
        let mut both = pin!(race(ready(1), second));
        assert_eq!(poll_once(both.as_mut()), Poll::Ready(Either::First(1)));
    }

    #[test]
    fn the_loser_of_a_race_is_dropped_with_it() {
        struct Flag<'a>(&'a std::cell::Cell<bool>);
        impl Drop for Flag<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = std::cell::Cell::new(false);
        let flag = Flag(&dropped);
        let loser = async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        };
        let mut both = Box::pin(race(loser, ready(2)));
        assert_eq!(poll_once(both.as_mut()), Poll::Ready(Either::Second(2)));
        drop(both);
        assert!(dropped.get());
    }

    #[test]
    fn a_join_waits_for_all_and_polls_nobody_after_its_end() {
        let countdown = |mut left: u32, value: u32| {
            poll_fn(move |_| {
                assert_ne!(left, u32::MAX, "polled after its end");
                left = left.wrapping_sub(1);
                if left == u32::MAX { Poll::Ready(value) } else { Poll::Pending }
            })
        };
        let mut all = pin!(join_all([countdown(2, 7), countdown(0, 8), countdown(1, 9)]));
        assert!(poll_once(all.as_mut()).is_pending());
        assert!(poll_once(all.as_mut()).is_pending());
        assert_eq!(poll_once(all.as_mut()), Poll::Ready(vec![7, 8, 9]));
        let mut two = pin!(join(countdown(1, 1), countdown(0, 2)));
        assert!(poll_once(two.as_mut()).is_pending());
        assert_eq!(poll_once(two.as_mut()), Poll::Ready((1, 2)));
    }

    #[test]
    fn giving_way_is_one_pending_poll() {
        let mut once = pin!(yield_now());
        assert!(poll_once(once.as_mut()).is_pending());
        assert!(poll_once(once.as_mut()).is_ready());
    }
}
