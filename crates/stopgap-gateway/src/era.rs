//! Who was let in by which book of rules. A swap holds for every request that is judged after it; what
//! was judged before goes on, and is counted here until it has ended, so that whoever swaps can tell
//! when nothing that met earlier rules is left.
//!
//! ```text
//!   book A in force      swap      book B in force
//!   ------------------+--------+---------------------> time
//!     request 1 ======|========|==> answered      Pass of A's era, until the last octet
//!     WebSocket ======|========|=================> Pass of A's era, until it closes
//!                     |        |  request 2 =====> Pass of B's era
//! ```
//!
//! A pass costs one count up and one down, and keeps no compiled rules in memory.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::verdict::RuleBook;

/// The time in which one book is in force.
#[derive(Debug, Default)]
pub(crate) struct Era {
    tunnels: AtomicUsize,
}

impl Era {
    /// Lets a request in.
    pub(crate) fn pass(self: &Arc<Self>) -> Pass {
        Pass { era: self.clone(), tunnel: false }
    }
}

/// Something that a book has let in; it has ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    era: Arc<Era>,
    tunnel: bool,
}

impl Pass {
    /// The request has become a WebSocket.
    pub(crate) fn into_tunnel(mut self) -> Pass {
        if !self.tunnel {
            self.tunnel = true;
            self.era.tunnels.fetch_add(1, Relaxed);
        }
        self
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.tunnel {
            self.era.tunnels.fetch_sub(1, Relaxed);
        }
    }
}

/// Eras that are over, and of which something is left.
#[derive(Debug, Default)]
pub(crate) struct Eras(Mutex<Vec<(Arc<Era>, Weak<RuleBook>)>>);

/// What earlier books have let in and has not ended. Field names are API (see the control socket).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Older {
    pub(crate) requests: usize,
    pub(crate) tunnels: usize,
    /// Earlier books that are still in memory.
    #[serde(skip)]
    pub(crate) books: usize,
}

impl Older {
    /// Connections that earlier rules still serve; one carries one request at a time, or a tunnel.
    pub(crate) fn connections(&self) -> usize {
        self.requests + self.tunnels
    }
}

impl Eras {
    /// Swaps books; the one that `swap` returns is no longer in force. Who looks at what is left waits
    /// meanwhile, so that nobody sees the new book in force and the earlier one forgotten. At most as
    /// many eras are kept as connections are open.
    pub(crate) fn close(&self, swap: impl FnOnce() -> Arc<RuleBook>) -> Arc<RuleBook> {
        let mut eras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = swap();
        eras.retain(is_left);
        eras.push((earlier.era.clone(), Arc::downgrade(&earlier)));
        earlier
    }

    pub(crate) fn older(&self) -> Older {
        let mut eras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        eras.retain(is_left);
        eras.iter().fold(Older::default(), |sum, (era, book)| {
            let tunnels = era.tunnels.load(Relaxed);
            let requests = passes(era, book).saturating_sub(tunnels);
            // A book without a pass is just being asked: that request will have one in a moment.
            let requests = if requests + tunnels == 0 { 1 } else { requests };
            let books = usize::from(book.strong_count() > 0);
            Older {
                requests: sum.requests + requests,
                tunnels: sum.tunnels + tunnels,
                books: sum.books + books,
            }
        })
    }
}

fn is_left((era, book): &(Arc<Era>, Weak<RuleBook>)) -> bool {
    book.strong_count() > 0 || passes(era, book) > 0
}

/// The list holds an era too, and so does the book while it lives.
fn passes(era: &Arc<Era>, book: &Weak<RuleBook>) -> usize {
    let book = usize::from(book.strong_count() > 0);
    (Arc::strong_count(era) - 1).saturating_sub(book)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_book_let_in_is_counted_until_it_ends() {
        let eras = Eras::default();
        let book = Arc::new(RuleBook::empty());
        let (request, tunnel) = (book.era.pass(), book.era.pass().into_tunnel());
        assert_eq!(eras.older(), Older::default(), "the book is in force");
        drop(eras.close(|| book));
        assert_eq!(eras.older(), Older { requests: 1, tunnels: 1, books: 0 });
        drop(request);
        assert_eq!(eras.older(), Older { requests: 0, tunnels: 1, books: 0 });
        drop(tunnel);
        assert_eq!(eras.older(), Older::default());
        assert!(eras.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_book_that_is_being_asked_counts_as_a_request() {
        let eras = Eras::default();
        let book = Arc::new(RuleBook::empty());
        let book = eras.close(|| book);
        assert_eq!(eras.older(), Older { requests: 1, tunnels: 0, books: 1 });
        drop(book);
        assert_eq!(eras.older(), Older::default());
    }

    #[test]
    fn who_sees_the_new_book_in_force_sees_what_the_earlier_one_let_in() {
        let eras = Arc::new(Eras::default());
        let book = Arc::new(RuleBook::empty());
        let _request = book.era.pass();
        let looking = eras.clone();
        let mut looker = None;
        drop(eras.close(|| {
            // From here on the new one is in force.
            let (began, begun) = std::sync::mpsc::channel();
            looker = Some(std::thread::spawn(move || {
                began.send(()).unwrap();
                looking.older()
            }));
            begun.recv().unwrap();
            book
        }));
        assert_eq!(looker.unwrap().join().unwrap().requests, 1);
    }

    #[test]
    fn a_thousand_books_leave_nothing_behind() {
        let eras = Eras::default();
        let kept = {
            let book = Arc::new(RuleBook::empty());
            let pass = book.era.pass();
            drop(eras.close(|| book));
            pass
        };
        for _ in 0..1000 {
            drop(eras.close(|| Arc::new(RuleBook::empty())));
        }
        assert!(eras.0.lock().unwrap().len() <= 2);
        assert_eq!(eras.older(), Older { requests: 1, tunnels: 0, books: 0 });
        drop(kept);
    }
}
