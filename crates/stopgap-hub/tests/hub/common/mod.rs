//! A hub on each database, for tests: what is shown of one must hold on the other.
//!
//! `on_both!(name, async |hub: Hub| { ... });` makes two tests. PostgreSQL is a private cluster of Debian's
//! package, in a folder of its own and on a local socket, started as an unprivileged user; tests that run at
//! the same time share it, each with a database of its own.

pub mod fleet;
mod postgres;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stopgap_hub::db::enrollments::{self, Enrollment};
use stopgap_hub::db::tokens::{self, Token};
use stopgap_hub::people::Role;
use stopgap_hub::{AppState, Bounds, Settings, secret};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use postgres::Cluster;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

/// A hub that serves, in this process.
pub struct Hub {
    pub url: String,
    pub state: AppState,
    pub http: reqwest::Client,
    pub database: Option<String>,
    bounds: Bounds,
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
    folder: TempDir,
    _cluster: Option<Arc<Cluster>>,
}

impl Hub {
    /// Starts one with an empty database; `None`: this machine has no PostgreSQL, which was said.
    pub async fn start(store: Store, test: &str) -> Option<Hub> {
        match store {
            Store::Sqlite => Some(Hub::start_on(None).await),
            Store::Postgres => Some(Hub::start_on(Some(Cluster::shared(test)?)).await),
        }
    }

    /// The same with a database on this cluster; `None`: on SQLite.
    pub async fn start_on(cluster: Option<Arc<Cluster>>) -> Hub {
        Hub::start_with(cluster, Bounds::default()).await
    }

    /// One on SQLite into which so many may come.
    pub async fn bounded(bounds: Bounds) -> Hub {
        Hub::start_with(None, bounds).await
    }

    async fn start_with(cluster: Option<Arc<Cluster>>, bounds: Bounds) -> Hub {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let database = cluster.as_ref().map(|cluster| cluster.database());
        let folder = tempfile::tempdir().unwrap();
        let (state, url, stop, task) = serve(folder.path(), database.clone(), bounds).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (stop, task) = (Some(stop), Some(task));
        Hub { url, state, http, database, bounds, stop, task, folder, _cluster: cluster }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A second hub beside this one, on the same data.
    pub async fn other(&self) -> Hub {
        let (state, url, stop, task) = serve(self.folder.path(), self.database.clone(), self.bounds).await;
        let folder = tempfile::tempdir().unwrap();
        let (stop, task, cluster) = (Some(stop), Some(task), self._cluster.clone());
        let (http, database, bounds) = (self.http.clone(), self.database.clone(), self.bounds);
        Hub { url, state, http, database, bounds, stop, task, folder, _cluster: cluster }
    }

    /// Stops the hub, and starts another on the same data.
    pub async fn restart(&mut self) {
        self.end().await;
        let (state, url, stop, task) = serve(self.folder.path(), self.database.clone(), self.bounds).await;
        (self.state, self.url, self.stop, self.task) = (state, url, Some(stop), Some(task));
    }

    /// Stops the hub.
    pub async fn end(&mut self) {
        if let (Some(stop), Some(task)) = (self.stop.take(), self.task.take()) {
            let _ = stop.send(());
            task.await.unwrap();
        }
    }

    /// An API token with this role, past the API.
    pub async fn token(&self, role: Role) -> String {
        self.token_named(role, &format!("the {role}'s")).await
    }

    /// The same with a name, since two tokens of one role are two people.
    pub async fn token_named(&self, role: Role, label: &str) -> String {
        let token = secret::new("sgt_").unwrap();
        let kept = Token {
            id: secret::identity().unwrap(),
            label: label.to_owned(),
            role,
            scopes: Vec::new(),
            user: "a test".into(),
            owner: String::new(),
            created_at: Timestamp::now(),
            expires_at: None,
            used_at: None,
        };
        let mut change = self.state.db.begin().await.unwrap();
        tokens::insert(&mut change, &kept, &secret::hash(&token)).await.unwrap();
        change.commit().await.unwrap();
        token
    }

    /// An enrollment token, past the API.
    pub async fn enrollment(&self, uses: u32, lasts: SignedDuration, labels: &[(&str, &str)]) -> String {
        let token = secret::new("sge_").unwrap();
        let kept = Enrollment {
            id: secret::identity().unwrap(),
            uses_left: uses,
            expires_at: Timestamp::now() + lasts,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            created_by: "ada".into(),
            created_at: Timestamp::now(),
        };
        let mut change = self.state.db.begin().await.unwrap();
        enrollments::insert(&mut change, &kept, &secret::hash(&token)).await.unwrap();
        change.commit().await.unwrap();
        token
    }

    /// A server that joined, past the API; its identity, which is its credential behind `sga_`.
    pub async fn server(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let id = secret::identity().unwrap();
        let mut change = self.state.db.begin().await.unwrap();
        let sql = "INSERT INTO servers (id, name, name_key, machine, credential_hash, labels, enrolled_at, agent_version) \
                   VALUES ($1, $2, $3, 'm', $4, '{}', $5, '0.1.0')";
        sqlx::query(sql)
            .bind(&id)
            .bind(name)
            .bind(name.to_lowercase())
            .bind(secret::hash(&format!("sga_{id}")))
            .bind(stopgap_hub::db::time(Timestamp::now()))
            .execute(change.on())
            .await
            .unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        stopgap_hub::db::servers::set_labels(&mut change, &id, &labels).await.unwrap();
        change.commit().await.unwrap();
        id
    }

    /// What a server says of one mitigation, past the API.
    pub async fn reports(&self, server: &str, mitigation: &str, status: &str, in_force: bool) {
        let (feed, id) = mitigation.split_once(':').unwrap();
        let digest = secret::hash(mitigation);
        let document = serde_json::json!({"feed": feed, "id": id, "type": "UrlRewrite", "description": format!("about {id}"),
            "digest": digest, "verdict": "Applies", "status": status, "in_force": in_force, "actions": []});
        let mut change = self.state.db.begin().await.unwrap();
        let sql = "INSERT INTO server_mitigations (server, feed, id, digest, verdict, status, in_force, document) \
                   VALUES ($1, $2, $3, $4, 'Applies', $5, $6, $7)";
        sqlx::query(sql)
            .bind(server)
            .bind(feed)
            .bind(id)
            .bind(digest)
            .bind(status)
            .bind(i64::from(in_force))
            .bind(document.to_string())
            .execute(change.on())
            .await
            .unwrap();
        change.commit().await.unwrap();
    }

    /// A request with a body of JSON: the status and the answer's JSON.
    pub async fn json(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let answer = self.ask(method, path, token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// What a path answers: the status and the JSON.
    pub async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let answer = self.ask("GET", path, token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Changes settings under the version that they have.
    pub async fn set(&self, path: &str, token: &str, patch: Value) -> (u16, Value) {
        let tag = self.tag(path, token).await;
        let answer =
            self.ask("PATCH", path, token).header("if-match", tag).json(&patch).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The ETag of a path.
    pub async fn tag(&self, path: &str, token: &str) -> String {
        let answer = self.ask("GET", path, token).send().await.unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    /// A request to this path, with a token where there is one.
    pub fn ask(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }
}

type Served = (AppState, String, oneshot::Sender<()>, tokio::task::JoinHandle<()>);

async fn serve(data: &Path, database: Option<String>, bounds: Bounds) -> Served {
    let settings = Settings {
        data: data.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        database,
        tls: None,
        names: Vec::new(),
        bounds,
    };
    let hub = stopgap_hub::Hub::bind(settings).await.unwrap();
    let (state, url) = (hub.state().clone(), hub.url());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        hub.run(async {
            let _ = stopped.await;
        })
        .await;
    });
    (state, url, stop, task)
}

/// Two tests of one body: on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($name:ident, $body:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let test = concat!(stringify!($name), "::on_sqlite");
                let hub = $crate::common::Hub::start($crate::common::Store::Sqlite, test).await.unwrap();
                ($body)(hub).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                let test = concat!(stringify!($name), "::on_postgresql");
                let Some(hub) = $crate::common::Hub::start($crate::common::Store::Postgres, test).await
                else {
                    return;
                };
                ($body)(hub).await;
            }
        }
    };
}

pub(crate) use on_both;
