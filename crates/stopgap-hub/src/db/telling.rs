//! Notes, messages and deliveries: what people are told, from its cause to the receiver.

use jiff::Timestamp;
use sqlx::{Any, Executor, Row};
use stopgap_tell::{Kind, Message};

use super::fleet::count;
use super::{Cells, Change, Db, DbError, time};

/// Keeps what happened on a server; the same again before it is gathered changes only the words.
pub async fn note(
    change: &mut Change,
    kind: Kind,
    object: &str,
    server: &str,
    words: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO notes (kind, object, server, at, words) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (kind, object, server) DO UPDATE SET words = excluded.words";
    sqlx::query(sql)
        .bind(kind.word())
        .bind(object)
        .bind(server)
        .bind(time(now))
        .bind(words)
        .execute(change.on())
        .await?;
    Ok(())
}

/// Notes of one thing that wait to be gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What happened.
    pub kind: Kind,
    /// To what.
    pub object: String,
    /// The first of them.
    pub first: Timestamp,
    /// When a message of the same was made last.
    pub told: Option<Timestamp>,
}

/// Everything that waits to be gathered, at most a thousand things.
pub async fn groups<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Group>, DbError> {
    let sql = "SELECT n.kind, n.object, MIN(n.at) AS first_at, (SELECT MAX(m.made_at) FROM messages m \
               WHERE m.kind = n.kind AND m.object = n.object) AS told_at FROM notes n GROUP BY n.kind, n.object \
               ORDER BY first_at LIMIT 1000";
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "notes", row };
            Ok(Group {
                kind: cells.parsed("kind")?,
                object: cells.text("object")?,
                first: cells.time("first_at")?,
                told: cells.maybe_time("told_at")?,
            })
        })
        .collect()
}

/// A note: the server, when, and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The server's name.
    pub server: String,
    /// When.
    pub at: Timestamp,
    /// In words.
    pub words: String,
}

/// Takes all notes of one thing, by the server's name. What another hub took is not there any more.
pub async fn take(change: &mut Change, kind: Kind, object: &str) -> Result<Vec<Note>, DbError> {
    let sql = "DELETE FROM notes WHERE kind = $1 AND object = $2 RETURNING server, at, words";
    let rows = sqlx::query(sql).bind(kind.word()).bind(object).fetch_all(change.on()).await?;
    let mut notes: Vec<Note> = rows
        .iter()
        .map(|row| {
            let cells = Cells { table: "notes", row };
            Ok(Note { server: cells.text("server")?, at: cells.time("at")?, words: cells.text("words")? })
        })
        .collect::<Result<_, DbError>>()?;
    notes.sort_by(|one, other| one.server.cmp(&other.server));
    Ok(notes)
}

/// The next message's number. It is taken in the message's own transaction, which waits for others that make one.
pub async fn number(change: &mut Change) -> Result<i64, DbError> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'messages' RETURNING value";
    Ok(sqlx::query(sql).fetch_one(change.on()).await?.try_get(0)?)
}

/// Keeps a message, with one delivery for each of `receivers`: its identity and the receiver's name.
pub async fn put(
    change: &mut Change,
    seq: i64,
    message: &Message,
    receivers: &[(String, String)],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO messages (seq, made_at, kind, object, document) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(sql)
        .bind(seq)
        .bind(time(now))
        .bind(message.kind.word())
        .bind(&message.object)
        .bind(serde_json::to_string(message).unwrap_or_default())
        .execute(change.on())
        .await?;
    for (id, receiver) in receivers {
        let sql = "INSERT INTO deliveries (id, message, receiver, state, made_at, next_try) \
                   VALUES ($1, $2, $3, 'waits', $4, $4)";
        sqlx::query(sql).bind(id).bind(seq).bind(receiver).bind(time(now)).execute(change.on()).await?;
    }
    Ok(())
}

/// A delivery whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its identity, the same at each attempt.
    pub id: String,
    /// Attempts so far.
    pub tries: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// What is sent.
    pub message: Message,
    next_try: String,
}

/// Deliveries to one receiver whose time has come, oldest first, at most twenty.
pub async fn due<'c>(
    on: impl Executor<'c, Database = Any>,
    receiver: &str,
    now: Timestamp,
) -> Result<Vec<Due>, DbError> {
    let sql = "SELECT d.id, d.tries, d.made_at, d.next_try, m.document FROM deliveries d JOIN messages m \
               ON m.seq = d.message WHERE d.receiver = $1 AND d.state = 'waits' AND d.next_try <= $2 \
               ORDER BY d.next_try, d.message LIMIT 20";
    let rows = sqlx::query(sql).bind(receiver).bind(time(now)).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "deliveries", row };
            Ok(Due {
                id: cells.text("id")?,
                tries: u32::try_from(cells.number("tries")?).unwrap_or(u32::MAX),
                made_at: cells.time("made_at")?,
                message: cells.json("document")?,
                next_try: cells.text("next_try")?,
            })
        })
        .collect()
}

/// Claims a delivery until `lease`: whether this hub is the one that sends it now.
pub async fn claim(db: &Db, due: &Due, lease: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE deliveries SET tries = tries + 1, next_try = $1 \
               WHERE id = $2 AND state = 'waits' AND next_try = $3";
    let mut change = db.begin().await?;
    let done =
        sqlx::query(sql).bind(time(lease)).bind(&due.id).bind(&due.next_try).execute(change.on()).await?;
    change.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It was taken.
    Sent,
    /// It was not, and is tried again then.
    Again(String, Timestamp),
    /// It was not, and is not tried again.
    GivenUp(String),
}

/// Keeps how it ended.
pub async fn settle(db: &Db, id: &str, attempt: &Attempt, now: Timestamp) -> Result<(), DbError> {
    let (state, error, next, done) = match attempt {
        Attempt::Sent => ("sent", None, now, Some(now)),
        Attempt::Again(error, next) => ("waits", Some(error), *next, None),
        Attempt::GivenUp(error) => ("given-up", Some(error), now, Some(now)),
    };
    let sql = "UPDATE deliveries SET state = $1, error = $2, next_try = $3, done_at = $4 WHERE id = $5";
    let mut change = db.begin().await?;
    sqlx::query(sql)
        .bind(state)
        .bind(error.cloned())
        .bind(time(next))
        .bind(done.map(time))
        .bind(id)
        .execute(change.on())
        .await?;
    change.commit().await
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub seq: u64,
    /// What was said.
    pub message: Message,
    /// To whom.
    pub deliveries: Vec<Delivery>,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Delivery {
    /// `mail`, or `webhook NAME`.
    pub receiver: String,
    /// `waits`, `sent` or `given-up`.
    pub state: String,
    /// Attempts so far.
    pub tries: u64,
    /// Why the last one failed.
    pub error: Option<String>,
    /// When it is tried again, where it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    /// When it was sent or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub done_at: Option<Timestamp>,
}

/// Messages before the number `before`, newest first, with their deliveries.
pub async fn page(db: &Db, before: Option<u64>, limit: u32) -> Result<Vec<Kept>, DbError> {
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let sql = "SELECT seq, document FROM messages WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
    let rows = sqlx::query(sql).bind(before).bind(i64::from(limit)).fetch_all(db.reader()).await?;
    let mut kept: Vec<Kept> = rows
        .iter()
        .map(|row| {
            let cells = Cells { table: "messages", row };
            let (seq, message) = (count(cells.number("seq")?), cells.json("document")?);
            Ok(Kept { seq, message, deliveries: Vec::new() })
        })
        .collect::<Result<_, DbError>>()?;
    let (Some(newest), Some(oldest)) = (kept.first(), kept.last()) else { return Ok(kept) };
    let span = [oldest.seq, newest.seq].map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let sql = "SELECT message, receiver, state, tries, error, next_try, done_at FROM deliveries \
               WHERE message >= $1 AND message <= $2 ORDER BY receiver";
    let rows = sqlx::query(sql).bind(span[0]).bind(span[1]).fetch_all(db.reader()).await?;
    for row in &rows {
        let cells = Cells { table: "deliveries", row };
        let of = count(cells.number("message")?);
        let state = cells.text("state")?;
        let next_try = if state == "waits" { cells.maybe_time("next_try")? } else { None };
        let delivery = Delivery {
            receiver: cells.text("receiver")?,
            tries: count(cells.number("tries")?),
            error: cells.maybe("error")?,
            done_at: cells.maybe_time("done_at")?,
            next_try,
            state,
        };
        if let Some(message) = kept.iter_mut().find(|message| message.seq == of) {
            message.deliveries.push(delivery);
        }
    }
    Ok(kept)
}

/// How many deliveries are in each state that there is.
pub async fn states<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<(String, u64)>, DbError> {
    let sql = "SELECT state, COUNT(*) AS deliveries FROM deliveries GROUP BY state ORDER BY state";
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "deliveries", row };
            Ok((cells.text("state")?, count(cells.number("deliveries")?)))
        })
        .collect()
}
