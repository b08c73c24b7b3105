//! A webhook's receiver.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    refuse: usize,
}

/// A webhook's receiver on loopback.
pub struct Collector {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Collector {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let take = async |State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, body: Bytes| {
            let mut inner = inner.lock().unwrap();
            inner.got.push(Got { headers, body: body.to_vec() });
            if inner.refuse == 0 {
                return StatusCode::NO_CONTENT;
            }
            inner.refuse -= 1;
            StatusCode::SERVICE_UNAVAILABLE
        };
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/of-this-test", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Collector { url, inner, task }
    }

    /// Refuses the next so many.
    pub fn fail(&self, times: usize) {
        self.inner.lock().unwrap().refuse = times;
    }

    pub fn got(&self) -> Vec<Got> {
        self.inner.lock().unwrap().got.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}
