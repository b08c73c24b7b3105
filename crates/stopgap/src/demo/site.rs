//! The sample site: it answers everything with 200, as a vulnerable application would, and keeps a
//! log of what reached it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What reached the site, newest last.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

/// Only the newest are of interest.
const KEPT: usize = 10_000;

impl Log {
    fn note(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < KEPT {
            lines.push(line);
        }
    }

    /// Forgets what was logged, and says how much it was.
    pub fn clear(&self) -> usize {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).len()
    }

    /// How many lines hold `text`.
    pub fn count(&self, text: &str) -> usize {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(text)).count()
    }
}

/// Starts the site on a free loopback port.
pub async fn start(log: Log) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            let service = service_fn(move |request| answer(log.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn answer(log: Log, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let cookie = request.headers().get(hyper::header::COOKIE).and_then(|value| value.to_str().ok());
    log.note(format!("{} {} {}", request.method(), request.uri(), cookie.unwrap_or_default()));
    Ok(Response::new(Full::new(Bytes::from_static(b"the sample site answers\n"))))
}
