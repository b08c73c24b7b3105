//! The fleet as a whole: servers by state, mitigations by what became of them. Reading alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use stopgap_core::organization::Layer;
use stopgap_core::wire;

use super::servers::{self, OnServer};
use super::{Cells, DbError, time};

/// A server that was not heard of for this long is quiet: agents report once an hour.
pub const QUIET_AFTER: SignedDuration = SignedDuration::from_hours(3);

/// What a server is first of all; the first that holds counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Two machines use its credential.
    Cloned,
    /// A mitigation failed, does not work, or is contested there.
    Failing,
    /// Not heard of for [`QUIET_AFTER`].
    Quiet,
    /// It warns of something.
    Warning,
    /// An operator paused it.
    Paused,
    /// Its MitigationsEnabled is off.
    Disabled,
    /// A mitigation waits there.
    Waiting,
    /// Nothing of that.
    Fine,
}

impl State {
    /// All of them, in their order.
    pub const ALL: [State; 8] = [
        State::Cloned,
        State::Failing,
        State::Quiet,
        State::Warning,
        State::Paused,
        State::Disabled,
        State::Waiting,
        State::Fine,
    ];

    /// Its word, in addresses and in the statement below.
    pub fn word(self) -> &'static str {
        match self {
            State::Cloned => "cloned",
            State::Failing => "failing",
            State::Quiet => "quiet",
            State::Warning => "warning",
            State::Paused => "paused",
            State::Disabled => "disabled",
            State::Waiting => "waiting",
            State::Fine => "fine",
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<State, String> {
        let found = State::ALL.into_iter().find(|state| state.word() == text);
        found.ok_or_else(|| format!("{text:?} is no state of a server"))
    }
}

/// `$1`: heard of since then is not quiet. `$2`: now.
macro_rules! state {
    () => {
        "CASE WHEN s.clone_seen_at IS NOT NULL THEN 'cloned' \
         WHEN EXISTS (SELECT 1 FROM server_mitigations m WHERE m.server = s.id AND m.status IN \
         ('Failed', 'Ineffective', 'Partial', 'Contested', 'Unsupported', 'Unknown')) THEN 'failing' \
         WHEN s.last_contact IS NULL OR s.last_contact < $1 THEN 'quiet' \
         WHEN s.warnings <> '[]' THEN 'warning' \
         WHEN s.paused_until IS NOT NULL AND s.paused_until > $2 THEN 'paused' \
         WHEN s.mitigations_enabled = 0 THEN 'disabled' \
         WHEN EXISTS (SELECT 1 FROM server_mitigations m WHERE m.server = s.id AND m.status IN \
         ('AwaitingApproval', 'Scheduled', 'Frozen')) THEN 'waiting' \
         ELSE 'fine' END"
    };
}

/// How many servers are in each state that there is.
pub async fn states<'c>(
    on: impl Executor<'c, Database = Any>,
    now: Timestamp,
) -> Result<BTreeMap<State, u64>, DbError> {
    let sql = concat!(
        "SELECT t.state, COUNT(*) AS servers FROM (SELECT ",
        state!(),
        " AS state FROM servers s) t GROUP BY t.state"
    );
    let rows = sqlx::query(sql).bind(time(heard_since(now))).bind(time(now)).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "servers", row };
            Ok((cells.parsed("state")?, count(cells.number("servers")?)))
        })
        .collect()
}

/// One line of the list of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What it is first of all.
    pub state: State,
    /// What puts it into groups.
    pub labels: BTreeMap<String, String>,
    /// When it was heard of last.
    pub last_contact: Option<Timestamp>,
    /// The agent's version.
    pub agent_version: String,
    /// `linux` or `windows`, and what the system calls itself.
    pub system: String,
    /// Mitigations that are in force there.
    pub in_force: u64,
}

/// What a list of servers holds. Nothing set: all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those in this state.
    pub state: Option<State>,
    /// Those with this label.
    pub label: Option<(String, String)>,
    /// Those whose name holds this text, whatever its case.
    pub name: String,
}

/// Servers after the name `after`, by name, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    filter: &Filter,
    after: &str,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Line>, DbError> {
    let sql = concat!(
        "SELECT t.*, (SELECT COUNT(*) FROM server_mitigations m WHERE m.server = t.id AND m.in_force = 1) AS in_force \
         FROM (SELECT s.id, s.name, s.name_key, s.labels, s.last_contact, s.agent_version, s.system, ",
        state!(),
        " AS state FROM servers s WHERE s.name_key > $3 AND ($4 = '' OR s.name_key LIKE $4 ESCAPE '!') AND \
         ($5 = '' OR EXISTS (SELECT 1 FROM server_labels l WHERE l.server = s.id AND l.key = $5 AND l.value = $6))) t \
         WHERE ($7 = '' OR t.state = $7) ORDER BY t.name_key LIMIT $8"
    );
    let (label, value) = filter.label.clone().unwrap_or_default();
    let name = if filter.name.is_empty() { String::new() } else { servers::holding(&filter.name) };
    let rows = sqlx::query(sql)
        .bind(time(heard_since(now)))
        .bind(time(now))
        .bind(servers::key(after))
        .bind(name)
        .bind(label)
        .bind(value)
        .bind(filter.state.map(State::word).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await?;
    rows.iter().map(line).collect()
}

fn line(row: &AnyRow) -> Result<Line, DbError> {
    let cells = Cells { table: "servers", row };
    Ok(Line {
        name: cells.text("name")?,
        state: cells.parsed("state")?,
        labels: cells.json("labels")?,
        last_contact: cells.maybe_time("last_contact")?,
        agent_version: cells.text("agent_version")?,
        system: cells.text("system")?,
        in_force: count(cells.number("in_force")?),
    })
}

/// A mitigation as some server reported it, for each that there is: its type and description. At most `limit`.
pub async fn mitigations<'c>(
    on: impl Executor<'c, Database = Any>,
    limit: u32,
) -> Result<Vec<wire::Mitigation>, DbError> {
    let sql = "SELECT m.document FROM (SELECT feed, id, MIN(server) AS server FROM server_mitigations \
               GROUP BY feed, id) one JOIN server_mitigations m ON m.server = one.server AND m.feed = one.feed AND \
               m.id = one.id ORDER BY m.feed, m.id LIMIT $1";
    let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(|row| Cells { table: "server_mitigations", row }.json("document")).collect()
}

/// What a server that was not heard of since then is.
fn heard_since(now: Timestamp) -> Timestamp {
    now.checked_sub(QUIET_AFTER).unwrap_or(Timestamp::MIN)
}

pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// When a mitigation first came into force anywhere, when it last did, and when the last server was without it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Course {
    /// When the first server said that it needs it.
    pub exposed: Option<Timestamp>,
    /// The first server where it came into force.
    pub first: Option<Timestamp>,
    /// The latest server.
    pub last: Option<Timestamp>,
    /// The latest proof that it works.
    pub proven: Option<Timestamp>,
    /// The last one to be without it; `None` while it is in force anywhere.
    pub ended: Option<Timestamp>,
}

/// The course of one mitigation.
pub async fn course<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
) -> Result<Course, DbError> {
    // Each of these is one step into an index, and the end is looked for only where there is one: no index has it.
    let sql = "SELECT (SELECT MIN(from_at) FROM spans WHERE feed = $1 AND id = $2) AS first_at, \
               (SELECT MAX(from_at) FROM spans WHERE feed = $1 AND id = $2) AS last_at, \
               CASE WHEN EXISTS (SELECT 1 FROM server_mitigations WHERE feed = $1 AND id = $2 AND in_force = 1) THEN NULL \
               ELSE (SELECT MAX(until_at) FROM spans WHERE feed = $1 AND id = $2) END AS ended_at, \
               (SELECT MAX(proven_at) FROM server_mitigations WHERE feed = $1 AND id = $2) AS proven_at, \
               (SELECT since_at FROM needs WHERE feed = $1 AND id = $2) AS needed_at";
    let row = sqlx::query(sql).bind(feed).bind(id).fetch_one(on).await?;
    let cells = Cells { table: "spans", row: &row };
    Ok(Course {
        exposed: cells.maybe_time("needed_at")?,
        proven: cells.maybe_time("proven_at")?,
        first: cells.maybe_time("first_at")?,
        last: cells.maybe_time("last_at")?,
        ended: cells.maybe_time("ended_at")?,
    })
}

/// Servers' own settings that block something, by the server's name.
pub async fn layers_with_blocks<'c>(
    on: impl Executor<'c, Database = Any>,
) -> Result<Vec<(String, Layer)>, DbError> {
    let sql = "SELECT s.name, l.document FROM layers l JOIN servers s ON s.id = l.name WHERE l.level = 'server' AND \
               l.document LIKE '%mitigations_blocked%' ORDER BY s.name_key LIMIT 10000";
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "layers", row };
            Ok((cells.text("name")?, cells.json("document")?))
        })
        .collect()
}

/// On how many servers a mitigation is in force: on all, or on those with a label.
pub async fn in_force<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
    label: Option<(String, String)>,
) -> Result<u64, DbError> {
    let sql = "SELECT COUNT(*) AS servers FROM server_mitigations m WHERE m.feed = $1 AND m.id = $2 AND m.in_force = 1 \
               AND ($3 = '' OR EXISTS (SELECT 1 FROM server_labels l WHERE l.server = m.server AND l.key = $3 AND \
               l.value = $4))";
    let (label, value) = label.unwrap_or_default();
    let row = sqlx::query(sql).bind(feed).bind(id).bind(label).bind(value).fetch_one(on).await?;
    Ok(count(row.try_get("servers")?))
}

/// One mitigation on the servers after the name `after`: on all that know of it, or where it has one status.
pub async fn with_mitigation<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
    status: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<OnServer>, DbError> {
    let sql = "SELECT s.name, s.id, m.document FROM server_mitigations m JOIN servers s ON s.id = m.server \
               WHERE m.feed = $1 AND m.id = $2 AND ($3 = '' OR m.status = $3) AND s.name_key > $4 \
               ORDER BY s.name_key LIMIT $5";
    let query =
        sqlx::query(sql).bind(feed).bind(id).bind(status).bind(servers::key(after)).bind(i64::from(limit));
    let rows = query.fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "server_mitigations", row };
            Ok(OnServer {
                server: cells.text("name")?,
                server_id: cells.text("id")?,
                mitigation: cells.json("document")?,
            })
        })
        .collect()
}

/// The state of one server.
pub async fn state_of<'c>(
    on: impl Executor<'c, Database = Any>,
    id: &str,
    now: Timestamp,
) -> Result<State, DbError> {
    let sql = concat!("SELECT ", state!(), " AS state FROM servers s WHERE s.id = $3");
    let row = sqlx::query(sql).bind(time(heard_since(now))).bind(time(now)).bind(id).fetch_one(on).await?;
    Cells { table: "servers", row: &row }.parsed("state")
}
