//! A change that the database ended because another stood in its way is made once more, with the same request: nothing
//! of it was kept, and whatever stood in its way is through by then. What stands in the way twice is told (503).

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;

use crate::problem::Contended;

/// What was read of a body, and whether that is all of it.
#[derive(Default)]
struct Read {
    parts: Vec<Bytes>,
    whole: bool,
}

/// Answers, at the second attempt where the first was in another's way.
pub(super) async fn once_more(request: Request, next: Next) -> Response {
    // These change nothing.
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let read = Arc::new(Mutex::new(Read { parts: Vec::new(), whole: body.is_end_stream() }));
    let first = Request::from_parts(head.clone(), noted(body, Arc::clone(&read)));
    let answer = next.clone().run(first).await;
    let read = std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner));
    if answer.extensions().get::<Contended>().is_none() || !read.whole {
        return answer;
    }
    let parts = futures_util::stream::iter(read.parts.into_iter().map(Ok::<_, std::convert::Infallible>));
    next.run(Request::from_parts(head, Body::from_stream(parts))).await
}

/// The body, whose parts are kept as the handler reads them: it bounds them.
fn noted(body: Body, read: Arc<Mutex<Read>>) -> Body {
    let mut parts = body.into_data_stream();
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        let part = parts.poll_next_unpin(context);
        if let std::task::Poll::Ready(part) = &part {
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            match part {
                Some(Ok(octets)) => read.parts.push(octets.clone()),
                Some(Err(_)) => {}
                None => read.whole = true,
            }
        }
        part
    }))
}
