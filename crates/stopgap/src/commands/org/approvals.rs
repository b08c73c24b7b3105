//! Approvals through the hub: asked for by one person, given by another. The hub decides who may; what it refuses is
//! told in its words.

use serde_json::{Map, Value, json};

use super::{named, text};
use crate::commands::remote::{Remote, at};
use crate::exit::{Code, Failure, Outcome};
use crate::output;

const APPROVALS: &[&str] = &["approvals"];

#[derive(clap::Args)]
pub struct ListArgs {
    /// Only those in this state
    #[arg(long, value_parser = ["requested", "approved", "rejected", "withdrawn"])]
    state: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV
    #[arg(long)]
    csv: bool,
}

#[derive(clap::Args)]
pub struct RejectArgs {
    /// The request, as `org approvals` lists it
    #[arg(value_name = "REQUEST")]
    id: String,
    /// Say why; the hub's audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// For whom, at the hub; without one of these it is the server that you are on.
#[derive(clap::Args)]
#[group(id = "scope", multiple = false)]
pub struct Scope {
    /// Through the hub: for this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Through the hub: for every server of this group, those that join later included
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Through the hub: for every server of the organization
    #[arg(long)]
    organization: bool,
}

/// A level and its name, as the API has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    word: &'static str,
    name: String,
}

impl Scope {
    /// Nothing where no level of a hub was named.
    pub fn level(&self) -> Option<Level> {
        let of = |word, name: &String| Level { word, name: name.clone() };
        let server = self.server.as_ref().map(|name| of("server", name));
        let group = self.group.as_ref().map(|name| of("group", name));
        let organization = || self.organization.then(|| of("organization", &String::new()));
        server.or(group).or_else(organization)
    }
}

impl Level {
    /// Names of servers are the same in capitals.
    fn is(&self, approval: &Value) -> bool {
        let name = at(approval, "name").as_str().unwrap_or_default();
        let same =
            if self.word == "server" { name.eq_ignore_ascii_case(&self.name) } else { name == self.name };
        at(approval, "level") == self.word && same
    }

    fn option(&self) -> String {
        match self.name.as_str() {
            "" => format!("--{}", self.word),
            name => format!("--{} {name}", self.word),
        }
    }
}

/// What is approved, or no longer so.
pub struct Wanted<'a> {
    /// For whom.
    pub level: Level,
    /// Mitigations, with their feed or without.
    pub ids: Vec<String>,
    /// How the revision's digest begins.
    pub revision: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// JSON instead of words.
    pub json: bool,
}

/// Gives what somebody else asked for; where nobody did, asks.
pub async fn approve(remote: &Remote, wanted: Wanted<'_>) -> Outcome {
    let mut done = Vec::new();
    for id in &wanted.ids {
        let (feed, id) = named(remote, id).await?;
        let open = matching(remote, "requested", &feed, &id, &wanted).await?;
        one_revision(&feed, &id, &open)?;
        let again = format!("stopgap approve {feed}:{id} {}", wanted.level.option());
        let approval = if open.is_empty() {
            let asked = ask(remote, &feed, &id, &wanted).await?;
            output::say(format_args!(
                "asked for: {}, request {}; it is not approved yet, and somebody else gives it: {again}",
                what(&asked),
                text(&asked, "id")
            ));
            asked
        } else {
            let given = decide_one(remote, &open, "approved", wanted.reason).await;
            let given = given.map_err(|refused| match refused.code {
                Code::Failed => refused.hint(format_args!("somebody who may gives it: {again}")),
                _ => refused,
            })?;
            output::say(format_args!(
                "approved: {}; {} had asked for it",
                what(&given),
                text(&given, "requested_by")
            ));
            given
        };
        done.push(approval);
    }
    finish(&done, wanted.json)
}

/// Takes back what was approved at that level; what is in force stays.
pub async fn unapprove(remote: &Remote, wanted: Wanted<'_>) -> Outcome {
    let mut done = Vec::new();
    for id in &wanted.ids {
        let (feed, id) = named(remote, id).await?;
        let given = matching(remote, "approved", &feed, &id, &wanted).await?;
        if given.is_empty() {
            let scope = scope(wanted.level.word, &wanted.level.name);
            return Err(Failure::new(anyhow::anyhow!("{feed}:{id} is not approved for {scope}"))
                .hint("`stopgap org approvals --state approved` lists what is, and for whom"));
        }
        for approval in &given {
            let taken = decide(remote, approval, "withdrawn", wanted.reason).await?;
            output::say(format_args!("no longer approved: {}; what is in force stays", what(&taken)));
            done.push(taken);
        }
    }
    finish(&done, wanted.json)
}

pub async fn reject(remote: &Remote, args: RejectArgs) -> Outcome {
    let decision = decision("rejected", args.reason.as_deref());
    let rejected = remote.put(&["approvals", &args.id], &decision).await?;
    let by = text(&rejected, "requested_by");
    output::say(format_args!("rejected: {}; {by} had asked for it", what(&rejected)));
    finish(&[rejected], args.json)
}

pub async fn list(remote: &Remote, args: ListArgs) -> Outcome {
    let query: Vec<(&str, String)> = args.state.into_iter().map(|state| ("state", state)).collect();
    let approvals = remote.all(APPROVALS, &query).await?;
    if args.json {
        output::json(&approvals)?;
    } else if args.csv {
        let header = [
            "Request",
            "Mitigation",
            "Revision",
            "For",
            "State",
            "RequestedBy",
            "RequestedAt",
            "Reason",
            "DecidedBy",
            "DecidedAt",
        ];
        let mut bytes = Vec::new();
        let rows = approvals.iter().map(|one| {
            let mut row = cells(one, &text(one, "digest"));
            row.push(text(one, "decided_at"));
            row
        });
        output::csv(&mut bytes, &header, rows)?;
        output::text(String::from_utf8_lossy(&bytes))?;
    } else if approvals.is_empty() {
        output::say("nobody asked for an approval");
    } else {
        let header = [
            "REQUEST",
            "MITIGATION",
            "REVISION",
            "FOR",
            "STATE",
            "ASKED BY",
            "ASKED AT",
            "WHY",
            "DECIDED BY",
        ];
        output::line(output::table(&header, approvals.iter().map(|one| cells(one, short(one)))))?;
    }
    Ok(Code::Done)
}

fn cells(one: &Value, revision: &str) -> Vec<String> {
    let mitigation = format!("{}:{}", text(one, "feed"), text(one, "mitigation"));
    let whom = scope(&text(one, "level"), &text(one, "name"));
    let rest = ["state", "requested_by", "requested_at", "reason", "decided_by"].map(|name| text(one, name));
    [text(one, "id"), mitigation, revision.to_owned(), whom].into_iter().chain(rest).collect()
}

/// Approvals in a state, of this mitigation at this level, and of the revision where one was named.
async fn matching(
    remote: &Remote,
    state: &str,
    feed: &str,
    id: &str,
    wanted: &Wanted<'_>,
) -> Result<Vec<Value>, Failure> {
    let mut found = remote.all(APPROVALS, &[("state", state.to_owned())]).await?;
    let revision = wanted.revision.map(str::to_ascii_lowercase).unwrap_or_default();
    found.retain(|one| {
        at(one, "feed") == feed
            && at(one, "mitigation") == id
            && wanted.level.is(one)
            && text(one, "digest").starts_with(&revision)
    });
    Ok(found)
}

/// Refuses to guess which revision is meant.
fn one_revision(feed: &str, id: &str, open: &[Value]) -> Result<(), Failure> {
    let mut digests: Vec<String> = open.iter().map(|one| text(one, "digest")).collect();
    digests.sort();
    digests.dedup();
    match digests.as_slice() {
        [] | [_] => Ok(()),
        several => Err(Failure::usage(format_args!("several revisions of {feed}:{id} are asked for"))
            .hint(format_args!("name the one that you mean with --revision: {}", several.join(", ")))),
    }
}

async fn ask(remote: &Remote, feed: &str, id: &str, wanted: &Wanted<'_>) -> Result<Value, Failure> {
    let mut request = Map::new();
    request.insert("mitigation".into(), json!(format!("{feed}:{id}")));
    request.insert("level".into(), json!(wanted.level.word));
    request.insert("name".into(), json!(wanted.level.name));
    request.extend(wanted.reason.map(|reason| ("reason".to_owned(), json!(reason))));
    if let Some(revision) = wanted.revision {
        request.insert("digest".into(), json!(whole(remote, feed, id, revision).await?));
    }
    remote.post(APPROVALS, &Value::Object(request)).await
}

/// The one digest that servers report and that begins like this.
async fn whole(remote: &Remote, feed: &str, id: &str, revision: &str) -> Result<String, Failure> {
    let servers = remote.all(&["mitigations", feed, id], &[]).await?;
    let mut known: Vec<String> = servers.iter().map(|one| text(one, "digest")).collect();
    known.sort();
    known.dedup();
    let begins = revision.to_ascii_lowercase();
    let mut found = known.iter().filter(|digest| digest.starts_with(&begins));
    match (found.next(), found.next()) {
        (Some(digest), None) => Ok(digest.clone()),
        (Some(_), Some(_)) => Err(Failure::usage(format_args!("several revisions begin with {revision}"))),
        (None, _) => Err(Failure::new(anyhow::anyhow!(
            "{feed}:{id} is not asked for: servers know the revision {}, and not {revision}",
            known.join(", ")
        ))
        .hint(format_args!("on a server: stopgap explain {feed}:{id}"))),
    }
}

/// Decides the first request that the hub lets this person decide: of several, one is not their own.
async fn decide_one(
    remote: &Remote,
    open: &[Value],
    to: &str,
    reason: Option<&str>,
) -> Result<Value, Failure> {
    let mut refused = Failure::usage("nobody asked for it");
    for one in open {
        match decide(remote, one, to, reason).await {
            Ok(given) => return Ok(given),
            Err(failure) => refused = failure,
        }
    }
    Err(refused)
}

async fn decide(remote: &Remote, approval: &Value, to: &str, reason: Option<&str>) -> Result<Value, Failure> {
    remote.put(&["approvals", &text(approval, "id")], &decision(to, reason)).await
}

fn decision(to: &str, reason: Option<&str>) -> Value {
    match reason {
        Some(reason) => json!({ "state": to, "reason": reason }),
        None => json!({ "state": to }),
    }
}

fn finish(done: &[Value], json: bool) -> Outcome {
    if json {
        output::json(&done)?;
    }
    Ok(Code::Done)
}

fn what(approval: &Value) -> String {
    let (feed, id) = (text(approval, "feed"), text(approval, "mitigation"));
    let whom = scope(&text(approval, "level"), &text(approval, "name"));
    format!("{feed}:{id} (revision {}) for {whom}", short(approval))
}

fn scope(level: &str, name: &str) -> String {
    if name.is_empty() { format!("the {level}") } else { format!("{level} {name}") }
}

fn short(approval: &Value) -> &str {
    let digest = at(approval, "digest").as_str().unwrap_or_default();
    digest.get(..12).unwrap_or(digest)
}
