//! An upgraded connection: octets both ways, until both sides have ended or nothing moves any more.
//! Rules do not look into it.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::era::Pass;
use crate::state::ConnectionState;

/// Both ends, as soon as the libraries hand them over.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) origin: OnUpgrade,
    /// From the book that judged the request that became this tunnel.
    pub(crate) pass: Option<Pass>,
}

impl Tunnel {
    /// Copies until both directions have ended; each is closed on its own, so that a side that has
    /// said its last word still hears the other.
    pub(crate) async fn run(self, state: Arc<ConnectionState>, rest: Duration) {
        let _pass = self.pass;
        let copy = async {
            let (client, origin) = tokio::try_join!(self.client, self.origin)?;
            let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
            let copied = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
            Ok::<_, hyper::Error>(copied)
        };
        tokio::select! {
            result = copy => tracing::debug!(?result, "tunnel ended"),
            () = rested(&state, rest) => tracing::debug!("tunnel ended: nothing moved for too long"),
        }
    }
}

/// Ends when no octet has moved on the client's socket for `rest`. All traffic of a tunnel, in both
/// directions, crosses that socket.
async fn rested(state: &ConnectionState, rest: Duration) {
    let tick = (rest / 4).max(Duration::from_millis(1));
    let (mut seen, mut quiet) = (state.activity(), 0);
    while quiet < 4 {
        tokio::time::sleep(tick).await;
        let now = state.activity();
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
    }
}
