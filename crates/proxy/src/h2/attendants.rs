//! The tasks that serve clients' streams. One that is done with its stream waits for another, so
//! that in steady state a stream costs no task: those are large, and the allocator is slow with them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::connection::Origin;
use crate::http;
use crate::side::Side;
use crate::worker::Worker;

/// How many tasks of a worker wait for a stream at most: what a burst needed beyond goes back to the
/// allocator. Each takes some 3 KiB.
const KEPT: usize = 128;

/// The tasks of a worker that wait for a stream.
#[derive(Debug, Default)]
pub struct Attendants(RefCell<Vec<Rc<Post>>>);

/// Where a task waits.
#[derive(Default)]
struct Post {
    next: Cell<Option<Work>>,
    waker: RefCell<Option<Waker>>,
}

/// A stream to serve.
struct Work {
    side: Side,
    origin: Origin,
}

// === impl Attendants ===

impl Attendants {
    /// Has a stream served by a task of its own for as long as it lasts.
    pub(super) fn serve(&self, worker: &Rc<Worker>, side: Side, origin: Origin) {
        let work = Work { side, origin };
        let Some(post) = self.0.borrow_mut().pop() else {
            tokio::task::spawn_local(attend(Rc::clone(worker), work));
            return;
        };
        post.next.set(Some(work));
        if let Some(waker) = &*post.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Keeps a task, unless there are enough.
    fn keep(&self, post: &Rc<Post>) -> bool {
        let mut idle = self.0.borrow_mut();
        if idle.len() >= KEPT {
            return false;
        }
        idle.push(Rc::clone(post));
        true
    }
}

/// Serves one stream after the other.
async fn attend(worker: Rc<Worker>, mut work: Work) {
    let post = Rc::<Post>::default();
    loop {
        http::serve(Rc::clone(&worker), work.side, work.origin).await;
        if !worker.attendants.keep(&post) {
            return;
        }
        work = post.wait().await;
    }
}

// === impl Post ===

impl Post {
    async fn wait(&self) -> Work {
        poll_fn(|cx| {
            if let Some(work) = self.next.take() {
                return Poll::Ready(work);
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}
