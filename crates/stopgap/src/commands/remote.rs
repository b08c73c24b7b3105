//! The organization's hub, as its commands ask it: over the API and nothing else.

use std::time::Duration;

use anyhow::Context;
use reqwest::header::{ETAG, IF_MATCH};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::exit::{Code, Failure};

const HUB: &str = "STOPGAP_HUB";
const TOKEN: &str = "STOPGAP_TOKEN";
const CA: &str = "STOPGAP_HUB_CA";
/// For one answer. The hub's own bound for its database is shorter.
const ANSWER: Duration = Duration::from_secs(60);
/// Items of all pages together: more does not fit a table, and a script asks the API.
const MOST: usize = 200_000;

/// A hub, and a token for it.
pub struct Remote {
    client: Client,
    base: Url,
    token: String,
}

/// What became of a change that named a version.
pub enum Written {
    /// It was made.
    Done,
    /// Somebody else changed it meanwhile.
    Stale,
}

impl Remote {
    /// The hub of the environment; without one the command is refused.
    pub fn needed() -> Result<Remote, Failure> {
        let missing = || {
            Failure::usage("this is asked of the organization's hub, and no hub is named").hint(format_args!(
                "set {HUB}=https://HUB and {TOKEN} (`stopgap hub token create` makes one); a server by itself is `--local`"
            ))
        };
        Self::named()?.ok_or_else(missing)
    }

    /// The hub of the environment, where one is named.
    pub fn named() -> Result<Option<Remote>, Failure> {
        let Some(url) = std::env::var(HUB).ok().filter(|url| !url.is_empty()) else { return Ok(None) };
        let base =
            Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base =
            base.ok_or_else(|| Failure::usage(format_args!("{HUB} is {url:?}; expected https://HOST:PORT")))?;
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let near = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if base.scheme() == "http" && !near {
            return Err(Failure::usage(format_args!("{HUB} is {url:?}: a token is never sent in the clear"))
                .hint("https://, or http:// on this machine itself"));
        }
        let token = std::env::var(TOKEN).ok().filter(|token| !token.trim().is_empty());
        let token = token.ok_or_else(|| {
            Failure::usage(format_args!("{HUB} is set, and {TOKEN} is not"))
                .hint("`stopgap hub token create --role operator` makes one, on the hub")
        })?;
        let mut builder = Client::builder().timeout(ANSWER).redirect(reqwest::redirect::Policy::none());
        if near {
            builder = builder.no_proxy();
        }
        if let Some(path) = std::env::var_os(CA).filter(|path| !path.is_empty()) {
            let shown = path.to_string_lossy().into_owned();
            let pem = std::fs::read(&path).with_context(|| format!("{CA}: cannot read {shown}"))?;
            let roots = Certificate::from_pem_bundle(&pem);
            builder = builder
                .tls_certs_only(roots.with_context(|| format!("{CA}: {shown} holds no certificates"))?);
        }
        let client = builder.build().context("cannot set up TLS")?;
        Ok(Some(Remote { client, base, token: token.trim().to_owned() }))
    }

    /// What stands at a path below `/v1`.
    pub async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path)?).await
    }

    /// The same with a query.
    pub async fn ask(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        self.json(self.request_with(Method::GET, path, query)?).await
    }

    /// Every item of a list, page by page.
    pub async fn all(&self, path: &[&str], query: &[(&str, String)]) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000".into()));
            query.extend(after.map(|after: String| ("after", after)));
            let mut page = self.ask(path, &query).await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            after = at(&page, "next").as_str().map(str::to_owned);
            if after.is_none() || items.len() >= MOST {
                return Ok(items);
            }
        }
    }

    /// What stands at a path, with its version.
    pub async fn tagged(&self, path: &[&str]) -> Result<(String, Value), Failure> {
        let response = self.send(self.request(Method::GET, path)?).await?;
        let response = accepted(response).await?;
        let tag =
            response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        Ok((tag, response.json().await.context("the hub's answer is no JSON")?))
    }

    /// Changes what stands at a path, under the version that was read.
    pub async fn patch(
        &self,
        path: &[&str],
        tag: &str,
        patch: &Value,
        reason: Option<&str>,
    ) -> Result<Written, Failure> {
        let query: Vec<_> = reason.map(|reason| ("reason", reason.to_owned())).into_iter().collect();
        let request = self.request_with(Method::PATCH, path, &query)?.header(IF_MATCH, tag).json(patch);
        let response = self.send(request).await?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(Written::Stale);
        }
        accepted(response).await.map(|_| Written::Done)
    }

    /// Makes something new at a path, and has what was made.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path)?.json(body)).await
    }

    /// Replaces what stands at a path, and has what stands there now.
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Removes what stands at a path.
    pub async fn delete(&self, path: &[&str], reason: Option<&str>) -> Result<(), Failure> {
        let query: Vec<_> = reason.map(|reason| ("reason", reason.to_owned())).into_iter().collect();
        let response = self.send(self.request_with(Method::DELETE, path, &query)?).await?;
        accepted(response).await.map(|_| ())
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = accepted(self.send(request).await?).await?;
        Ok(response.json().await.context("the hub's answer is no JSON")?)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        self.request_with(method, path, &[])
    }

    /// Each part of the path is one part, whatever stands in it.
    fn request_with(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut parts) => {
                parts.pop_if_empty().push("v1").extend(path);
            }
            Err(()) => return Err(Failure::usage(format_args!("{HUB} is no address of a server"))),
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(&self.token))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| {
            Failure::new(
                anyhow::Error::new(error.without_url()).context(format!("cannot ask the hub {}", self.base)),
            )
            .hint(format_args!(
                "is it running, and does {CA} name its authority where it has one of its own?"
            ))
        })
    }
}

/// An answer that is no refusal. A refusal is told in the hub's own words.
async fn accepted(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem: Value = response.json().await.unwrap_or_default();
    let detail = at(&problem, "detail").as_str().unwrap_or_default();
    let failure = Failure::new(anyhow::anyhow!("the hub refused ({status}): {detail}"));
    Err(match status {
        StatusCode::UNAUTHORIZED => failure.hint(format_args!("{TOKEN} is none of its tokens, or ended")),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => failure.code(Code::Usage),
        _ => failure,
    })
}

/// A field of an object; null where it is missing.
pub fn at<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// A list of texts.
pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
