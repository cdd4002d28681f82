//! Waiting for objects to become ready, or to go: one poller per site and kind serves every waiter.
//!
//! A poll is one list call however many wait, or one read where a single object is waited for. It starts at half a
//! second and backs off; a newcomer brings the interval back, so a short wait among long ones stays short. A waiter
//! holds no slot of any service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::cloud::{CloudError, Session};
use crate::kinds::CloudKind;
use crate::kinds::kind::{Readiness, Seen};
use crate::model::{RemoteId, SiteAlias};

/// The interval between the first polls, and the most it grows to.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(5);
/// How long newcomers are gathered before a poll, where their kind does not take longer anyway.
const GATHER: Duration = Duration::from_millis(40);
/// With more waiters than this one list is cheaper than a read each.
const MOST_READS: usize = 2;
/// How long an object that is being deleted may show an error before that counts.
const GRACE: Duration = Duration::from_secs(20);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// That it can be used.
    Ready,
    /// As `Ready`, and a start that its owner chose is waited for too.
    Started,
    /// That it is gone.
    Gone,
}

/// How a wait ended well.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrived {
    /// It is ready, and looks like this.
    Ready(Box<Seen>),
    /// It starts at a time its owner chose.
    Scheduled(Timestamp, Box<Seen>),
    /// It is gone.
    Gone,
}

/// How a wait ended badly.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WaitError {
    /// It went into an error state.
    #[error("it failed: {0}")]
    Failed(String),
    /// It vanished while it was waited for.
    #[error("it is gone, while it was waited for: {0}")]
    Vanished(String),
    /// It took too long.
    #[error("it is still {status} after {} s", .after.as_secs())]
    TooLong {
        /// The service's last word.
        status: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// A service did not answer.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

struct Waiter {
    id: RemoteId,
    goal: Goal,
    since: Instant,
    until: Instant,
    failing_since: Option<Instant>,
    status: mpsc::UnboundedSender<String>,
    last_status: String,
    reply: oneshot::Sender<Result<Arrived, WaitError>>,
}

/// Who polls what: the way in to each poller, by site and kind.
type Polled = BTreeMap<(SiteAlias, &'static str), mpsc::UnboundedSender<Waiter>>;

/// The pollers of an apply.
#[derive(Clone, Default)]
pub struct Pollers(Arc<Mutex<Polled>>);

impl Pollers {
    /// Waits for one object. `status` hears each new word of the service for where it is.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub async fn wait(
        &self,
        (site, session): (&SiteAlias, &Session),
        kind: &'static dyn CloudKind,
        id: &RemoteId,
        goal: Goal,
        status: mpsc::UnboundedSender<String>,
    ) -> Result<Arrived, WaitError> {
        let (reply, answer) = oneshot::channel();
        let now = Instant::now();
        let mut waiter = Waiter {
            id: id.clone(),
            goal,
            since: now,
            until: now + kind.patience(),
            failing_since: None,
            status,
            last_status: String::new(),
            reply,
        };
        let key = (site.clone(), kind.schema().kind);
        loop {
            let sender = self.poller(&key, session, kind);
            match sender.send(waiter) {
                Ok(()) => break,
                // That poller has just gone home; take it out and start another.
                Err(mpsc::error::SendError(returned)) => {
                    waiter = returned;
                    self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                }
            }
        }
        answer.await.unwrap_or_else(|_| Err(WaitError::Vanished("the poller ended".to_owned())))
    }

    fn poller(
        &self,
        key: &(SiteAlias, &'static str),
        session: &Session,
        kind: &'static dyn CloudKind,
    ) -> mpsc::UnboundedSender<Waiter> {
        let mut pollers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pollers
            .entry(key.clone())
            .or_insert_with(|| {
                let (sender, newcomers) = mpsc::unbounded_channel();
                tokio::spawn(poll(session.clone(), kind, newcomers));
                sender
            })
            .clone()
    }
}

async fn poll(session: Session, kind: &'static dyn CloudKind, mut newcomers: mpsc::UnboundedReceiver<Waiter>) {
    let mut waiters: Vec<Waiter> = Vec::new();
    let mut interval = FIRST;
    // Services in this process are done at once, and are not slowed down by questions.
    let gather = if session.is_in_process() { GATHER } else { kind.least_wait().max(GATHER) };
    loop {
        if waiters.is_empty() {
            let Some(newcomer) = newcomers.recv().await else { return };
            waiters.push(newcomer);
            interval = FIRST;
            tokio::time::sleep(gather).await;
        }
        while let Ok(newcomer) = newcomers.try_recv() {
            waiters.push(newcomer);
        }
        match look(&session, kind, &waiters).await {
            Ok(seen) => {
                let clock = session.server_time().unwrap_or_else(Timestamp::now);
                waiters = waiters.into_iter().filter_map(|waiter| waiter.check(kind, &seen, clock)).collect();
            }
            Err(error) => {
                for waiter in waiters.drain(..) {
                    let _ = waiter.reply.send(Err(error.clone().into()));
                }
            }
        }
        if waiters.is_empty() {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => interval = (interval * 3 / 2).min(MOST),
            Some(newcomer) = newcomers.recv() => {
                waiters.push(newcomer);
                interval = FIRST;
                tokio::time::sleep(gather).await;
            }
        }
    }
}

async fn look(
    session: &Session,
    kind: &'static dyn CloudKind,
    waiters: &[Waiter],
) -> Result<BTreeMap<RemoteId, Seen>, CloudError> {
    let mut seen = BTreeMap::new();
    let by_list = waiters.len() > MOST_READS;
    if by_list {
        seen.extend(kind.list(session).await?.into_iter().map(|seen| (seen.id.clone(), seen)));
    }
    let told = |seen: Option<&Seen>| seen.is_none_or(|seen| !kind.is_unexplained(seen));
    for waiter in waiters {
        if by_list && told(seen.get(&waiter.id)) {
            continue;
        }
        if let Some(found) = kind.read(session, &waiter.id).await? {
            seen.insert(waiter.id.clone(), found);
        }
    }
    Ok(seen)
}

impl Waiter {
    /// Answers if the wait is over; else goes on waiting.
    fn check(mut self, kind: &dyn CloudKind, seen: &BTreeMap<RemoteId, Seen>, clock: Timestamp) -> Option<Self> {
        let now = Instant::now();
        let seen = seen.get(&self.id);
        let end = match (seen, self.goal) {
            (None, Goal::Gone) => Some(Ok(Arrived::Gone)),
            (None, _) => Some(Err(WaitError::Vanished("the service does not show it any more".to_owned()))),
            (Some(seen), goal) => {
                // A start that has come is no longer chosen but late: the service takes up to its own poll to act on it.
                let readiness = match kind.readiness(seen) {
                    Readiness::Scheduled(at) if at <= clock => Readiness::Pending(seen.status.clone()),
                    other => other,
                };
                self.judge(readiness, seen, goal, now)
            }
        };
        if let Some(end) = end {
            let _ = self.reply.send(end);
            return None;
        }
        let status = seen.map_or("there", |seen| seen.status.as_str());
        if now >= self.until {
            let error = WaitError::TooLong { status: status.to_owned(), after: now - self.since };
            let _ = self.reply.send(Err(error));
            return None;
        }
        if status != self.last_status {
            self.last_status = status.to_owned();
            let _ = self.status.send(status.to_owned());
        }
        Some(self)
    }

    fn judge(
        &mut self,
        readiness: Readiness,
        seen: &Seen,
        goal: Goal,
        now: Instant,
    ) -> Option<Result<Arrived, WaitError>> {
        let ready = || Ok(Arrived::Ready(Box::new(seen.clone())));
        match (readiness, goal) {
            (Readiness::Ended(_), Goal::Gone) => Some(Ok(Arrived::Gone)),
            (Readiness::Failed(why), Goal::Gone) => {
                let since = *self.failing_since.get_or_insert(now);
                (now - since > GRACE).then_some(Err(WaitError::Failed(why)))
            }
            (Readiness::Ready, Goal::Ready | Goal::Started) => Some(ready()),
            (Readiness::Failed(why), _) => Some(Err(WaitError::Failed(why))),
            (Readiness::Ended(how), _) => Some(Err(WaitError::Vanished(how))),
            (Readiness::Scheduled(at), Goal::Ready) => Some(Ok(Arrived::Scheduled(at, Box::new(seen.clone())))),
            (Readiness::Scheduled(_), Goal::Started) => {
                // It is not late before its time.
                self.until = now + patience_after_start();
                None
            }
            (Readiness::Pending(_), _) | (Readiness::Ready | Readiness::Scheduled(_), Goal::Gone) => None,
        }
    }
}

/// How long after its chosen start an object may take.
fn patience_after_start() -> Duration {
    Duration::from_secs(600)
}
