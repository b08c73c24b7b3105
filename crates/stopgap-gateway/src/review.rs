//! What rules for responses need of a request until its response is here, and what they do to that.
//!
//! Kept only where the book has such rules. Header fields alone are changed; the body streams on
//! untouched. Which responses are reviewed:
//!
//! | response | |
//! |---|---|
//! | final ones of the origin, of any status, also to HEAD and 304 | reviewed |
//! | 101 | not: what follows is no document, and a handshake is exact |
//! | other 1xx | not: the HTTP library keeps them |
//! | the gateway's own (refusals by rules, 4xx, 5xx) | not: they are a line of plain text |
//!
//! Rules see the fields that the client will see: what belongs to the hop from the origin is removed
//! before, and what belongs to the hop to the client is set after. A book in which a rule rewrites one of
//! those is refused when it is activated.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri, response};
use stopgap_rules::Verdict;

use crate::proxy::{Client, target};
use crate::verdict::{Asked, RuleBook, Withheld};

/// A request as its client sent it, and who has judged it.
pub(crate) struct Review {
    /// The one that judged the request, also where another is in force by now.
    book: Arc<RuleBook>,
    inbound: Box<Verdict>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Review {
    pub(crate) fn new<B>(book: Arc<RuleBook>, inbound: Box<Verdict>, request: &Request<B>) -> Box<Review> {
        let (method, uri, headers) =
            (request.method().clone(), request.uri().clone(), request.headers().clone());
        Box::new(Review { book, inbound, method, uri, headers })
    }

    /// Changes a response as the rules say. Whether they said anything.
    pub(crate) fn apply(&self, client: &Client, parts: &mut response::Parts) -> Result<bool, Withheld> {
        let asked = Asked {
            method: &self.method,
            target: target(&self.uri),
            headers: &self.headers,
            peer: client.peer,
            local: client.local,
        };
        let changes = self.book.judge_response(asked, &self.inbound, parts.status, &parts.headers)?;
        let changed = !changes.is_empty();
        for (name, values) in changes {
            parts.headers.remove(&name);
            for value in values {
                parts.headers.append(name.clone(), value);
            }
        }
        Ok(changed)
    }
}
