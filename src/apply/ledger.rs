//! The state while an apply runs: entries are on disk before anything goes on, and read back from memory.
//!
//! One thread owns the journal. Whoever records hands it entries and waits; entries that arrive together share one
//! fsync. Invariants: [`Ledger::record`] returns only when its entries are on disk and folded in; after a failed write
//! every later record fails too, so nothing is asked of a cloud that could not be remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::state::{Entry, Loaded};

/// Where entries go: they are on disk when `append` returns.
pub trait Log: Send + 'static {
    /// Appends entries in order, all or nothing as far as a reader can tell, with one fsync.
    ///
    /// # Errors
    /// When they could not be written; the text is for people.
    fn append(&mut self, entries: &[Entry]) -> Result<(), String>;
}

/// The journal could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal could not be written: {0}")]
pub struct LedgerError(String);

type Job = (Vec<Entry>, oneshot::Sender<Result<(), LedgerError>>);

/// A handle on the state of a running apply. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    loaded: Arc<Mutex<Loaded>>,
    jobs: std::sync::mpsc::Sender<Job>,
}

impl Ledger {
    /// Starts the writing thread. It ends when the last handle is dropped, and gives the log back then.
    pub fn start<L: Log>(loaded: Loaded, log: L) -> (Self, std::thread::JoinHandle<L>) {
        let loaded = Arc::new(Mutex::new(loaded));
        let (jobs, queue) = std::sync::mpsc::channel::<Job>();
        let shared = Arc::clone(&loaded);
        let thread = std::thread::spawn(move || write(log, &queue, &shared));
        (Self { loaded, jobs }, thread)
    }

    /// Writes entries and folds them in.
    ///
    /// # Errors
    /// When they could not be written, now or before.
    pub async fn record(&self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        let gone = || LedgerError("its writer has ended".to_owned());
        self.jobs.send((entries, reply)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Reads the state as it is now.
    pub fn read<T>(&self, read: impl FnOnce(&Loaded) -> T) -> T {
        read(&lock(&self.loaded))
    }
}

fn lock(loaded: &Mutex<Loaded>) -> MutexGuard<'_, Loaded> {
    // Folding does not panic; a poisoned lock still holds a whole state.
    loaded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<L: Log>(mut log: L, queue: &std::sync::mpsc::Receiver<Job>, loaded: &Mutex<Loaded>) -> L {
    let mut broken: Option<LedgerError> = None;
    while let Ok(first) = queue.recv() {
        let jobs: Vec<Job> = std::iter::once(first).chain(queue.try_iter()).collect();
        let entries: Vec<Entry> = jobs.iter().flat_map(|(entries, _)| entries.iter().cloned()).collect();
        if broken.is_none() {
            broken = log.append(&entries).err().map(LedgerError);
        }
        if broken.is_none() {
            let mut loaded = lock(loaded);
            entries.into_iter().for_each(|entry| loaded.fold(entry));
        }
        for (_, reply) in jobs {
            let _ = reply.send(broken.clone().map_or(Ok(()), Err));
        }
    }
    log
}
