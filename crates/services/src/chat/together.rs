//! What many calls do with the store in one commit: each hands in its part and waits for its turn, and whoever has the turn
//! does it for all that wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts that wait to be done.
pub(super) struct Together<T> {
    waiting: Mutex<Vec<T>>,
    /// Held by the one who does them.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<T> Together<T> {
    /// Those that wait, the first to come first.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next to be done, at most so many.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut waiting = self.waiting();
        let most = waiting.len().min(most);
        waiting.drain(..most).collect()
    }
}
