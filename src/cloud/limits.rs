//! How many requests one service gets at a time: fewer as soon as it complains, more again as it keeps up.
//!
//! Additive increase, multiplicative decrease, as in TCP: 429 and 503 halve the limit, and as many successes in a row
//! as the limit allows at once raise it by one, up to where it started.
//!
//! Invariants:
//! - The limit is at least one.
//! - Waiters get their turn in the order they came, and giving up while waiting loses no slot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A service's limit.
#[derive(Debug)]
pub(super) struct Limit {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
    ceiling: usize,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Slots in use that are not to be given back: the limit fell below what was under way.
    debt: usize,
    successes: usize,
}

/// A turn; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    limit: &'a Limit,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limit {
    /// A limit that starts at, and never rises above, `ceiling`.
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            slots: Arc::new(Semaphore::new(ceiling)),
            state: Mutex::new(State { limit: ceiling, debt: 0, successes: 0 }),
            ceiling,
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Slot<'_> {
        // The semaphore is never closed, so there is always a permit in the end.
        Slot { limit: self, permit: self.slots.clone().acquire_owned().await.ok() }
    }

    /// The service complained of too many requests.
    pub(super) fn complained(&self) {
        let mut state = self.lock();
        let lower = (state.limit / 2).max(1);
        let taken = self.slots.forget_permits(state.limit - lower);
        state.debt += state.limit - lower - taken;
        state.limit = lower;
        state.successes = 0;
    }

    /// The service answered in good order.
    pub(super) fn succeeded(&self) {
        let mut state = self.lock();
        state.successes += 1;
        if state.limit < self.ceiling && state.successes >= state.limit {
            state.successes = 0;
            state.limit += 1;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.slots.add_permits(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.limit.lock();
        if state.debt > 0
            && let Some(permit) = self.permit.take()
        {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_complaint_halves_and_success_raises_slowly() {
        let limit = Limit::new(10);
        let mut turns = Vec::new();
        for _ in 0..10 {
            turns.push(limit.turn().await);
        }
        limit.complained();
        assert_eq!((limit.lock().limit, limit.slots.available_permits()), (5, 0));
        turns.truncate(5);
        assert_eq!(limit.slots.available_permits(), 0, "the slots above the new limit are not given back");
        turns.clear();
        assert_eq!(limit.slots.available_permits(), 5);
        for _ in 0..5 {
            limit.succeeded();
        }
        assert_eq!((limit.lock().limit, limit.slots.available_permits()), (6, 6));
        for _ in 0..9 {
            limit.complained();
        }
        assert_eq!(limit.lock().limit, 1);
        for _ in 0..1000 {
            limit.succeeded();
        }
        assert_eq!((limit.lock().limit, limit.slots.available_permits()), (10, 10));
    }
}
