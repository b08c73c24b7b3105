//! The store, and the only place that knows SQL: SQLite in one file, or PostgreSQL.
//!
//! One text of SQL serves both, since the schema has TEXT and BIGINT alone (migrations/), placeholders are `$1`,
//! and an upsert is `ON CONFLICT`. Each group of tables has a file of typed functions below; those that read take
//! any connection, those that write take a [`Change`], which is a transaction.
//!
//! SQLite: one connection writes and the others read (write-ahead log, synchronous=FULL: what was acknowledged
//! survives a power cut). PostgreSQL: a pool, and several hubs may share the database.

pub mod agents;
pub mod approvals;
pub mod audit;
mod change;
pub mod enrollments;
pub mod fleet;
pub mod history;
pub mod idempotency;
pub mod layers;
mod listen;
pub mod mirror;
pub mod people;
pub mod reports;
pub mod retention;
pub mod servers;
pub mod telling;
pub mod tokens;
pub mod troubles;
pub mod turns;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, Executor, Row, SqlSafeStr};

pub use change::Change;

/// Connections that read SQLite, or that PostgreSQL is asked through: a hub waits for its database more than it
/// computes, and PostgreSQL's own default bound is 100 for all.
const CONNECTIONS: u32 = 16;
/// How long a request waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
/// The file in the data folder.
pub const FILE: &str = "hub.db";

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "organization", include_str!("../migrations/0001_organization.sql")),
    (2, "mirror", include_str!("../migrations/0002_mirror.sql")),
    (3, "console", include_str!("../migrations/0003_console.sql")),
    (4, "telling", include_str!("../migrations/0004_telling.sql")),
    (5, "sign_in_links", include_str!("../migrations/0005_sign_in_links.sql")),
    (6, "tokens", include_str!("../migrations/0006_tokens.sql")),
    (7, "facts_unknown", include_str!("../migrations/0007_facts_unknown.sql")),
    (8, "stopped", include_str!("../migrations/0008_stopped.sql")),
];

/// Which database it is, where a statement cannot be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file in the data folder.
    Sqlite,
    /// A server; other hubs may share it.
    Postgres,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    kind: Kind,
    writer: AnyPool,
    reader: AnyPool,
    url: String,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database's URL.
    #[error("the database {url:?} is neither SQLite nor PostgreSQL: expected postgres://USER@HOST/NAME")]
    Url {
        /// What was given.
        url: String,
    },
    /// The data folder, or the file in it.
    #[error("cannot make {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the database's tables up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A statement.
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
    /// What a row holds is not what this build writes.
    #[error("{table}.{column} holds {found:?}: {expected}")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A unique name is taken.
    #[error("{0} is there already")]
    Taken(String),
}

impl DbError {
    /// Whether the database itself is away, so that the same may succeed later.
    pub fn is_away(&self) -> bool {
        use sqlx::Error as E;
        match self {
            DbError::Sql(E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::Tls(_) | E::WorkerCrashed) => true,
            // Class 57P is "the server is shutting down or starting", 08 a lost connection, 53 no room.
            DbError::Sql(E::Database(error)) => error.code().is_some_and(|code| {
                ["57P", "08", "53"].iter().any(|class| code.starts_with(class)) || code == "5"
            }),
            _ => false,
        }
    }

    /// Whether two changes stood in each other's way, so that the database ended this one, and the same may succeed at
    /// once: PostgreSQL's 40P01 and 40001, SQLite's 517 (busy with a snapshot).
    pub fn is_contended(&self) -> bool {
        let DbError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| ["40P01", "40001", "517"].contains(&code.as_ref()))
    }

    /// Whether there is no room on the disk: SQLite's SQLITE_FULL, and SQLITE_IOERR_SHMSIZE where what its readers share
    /// cannot grow; PostgreSQL's disk_full.
    pub fn is_full(&self) -> bool {
        let DbError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| ["13", "4874", "53100"].contains(&code.as_ref()))
    }

    /// Whether a text held U+0000, which PostgreSQL's TEXT has no place for.
    pub(crate) fn is_zero(&self) -> bool {
        let DbError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "22021")
    }

    /// A name that is taken, where a unique index refused.
    pub(crate) fn or_taken(error: sqlx::Error, what: impl std::fmt::Display) -> DbError {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => DbError::Taken(what.to_string()),
            _ => DbError::Sql(error),
        }
    }
}

impl Db {
    /// Opens the store and brings its tables up to date. `url`: as in [`crate::Settings::database`].
    pub async fn open(data: &Path, url: Option<&str>) -> Result<Db, DbError> {
        // Repeating it changes nothing.
        sqlx::any::install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER]).ok();
        let db = match url {
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Self::postgres(url).await?
            }
            Some(url) => return Err(DbError::Url { url: url.to_owned() }),
            None => Self::sqlite(data).await?,
        };
        migrator().run(&db.writer).await?;
        Ok(db)
    }

    async fn sqlite(data: &Path) -> Result<Db, DbError> {
        make_folder(data).map_err(|source| DbError::Folder { path: data.to_owned(), source })?;
        let path = data.join(FILE);
        make_file(&path).map_err(|source| DbError::Folder { path: path.clone(), source })?;
        let mut url = url_of_file(&path);
        url.push_str("?mode=rwc");
        let options = AnyConnectOptions::from_str(&url)?;
        let set = |pragmas: &'static str| {
            pool().after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(pragmas).await.map(|_| ()) })
            })
        };
        let writer = set(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;",
        );
        let writer = writer.max_connections(1).connect_with(options.clone()).await?;
        let reader = set("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;");
        let reader = reader.max_connections(CONNECTIONS).connect_lazy_with(options);
        Ok(Db { kind: Kind::Sqlite, writer, reader, url })
    }

    async fn postgres(url: &str) -> Result<Db, DbError> {
        let options = AnyConnectOptions::from_str(url)?;
        let writer = pool().max_connections(CONNECTIONS).connect_with(options).await?;
        Ok(Db { kind: Kind::Postgres, reader: writer.clone(), writer, url: url.to_owned() })
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is, with whatever password the URL holds: never to be shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections that read.
    pub fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Begins a change: one transaction, with its entries of the audit log.
    pub async fn begin(&self) -> Result<Change, DbError> {
        Ok(Change::new(self.kind, self.writer.begin().await?))
    }

    /// Begins a change that no other of these runs beside, on this hub or on another: what it reads stays so until
    /// it is committed, and no two of them wait for each other's rows.
    pub async fn begin_alone(&self) -> Result<Change, DbError> {
        let mut change = self.begin().await?;
        change.lock().await?;
        Ok(change)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT value FROM counters WHERE name = 'settings'").fetch_one(&self.reader).await?;
        Ok(())
    }

    /// The settings counter: it grows with every change that agents should know of.
    pub async fn settings_counter(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'settings'");
        Ok(u64::try_from(row.fetch_one(&self.reader).await?.try_get::<i64, _>(0)?).unwrap_or(0))
    }

    /// SHA-256, in hex, of the certificate of the authority that the hub made for itself, where it serves with that.
    pub async fn pin(&self) -> Result<Option<String>, DbError> {
        let row =
            sqlx::query("SELECT value FROM meta WHERE name = 'pin'").fetch_optional(&self.reader).await?;
        Ok(row.map(|row| row.try_get::<String, _>(0)).transpose()?.filter(|pin| !pin.is_empty()))
    }

    /// Keeps what [`Db::pin`] says.
    pub async fn set_pin(&self, pin: Option<&str>) -> Result<(), DbError> {
        let sql = "INSERT INTO meta (name, value) VALUES ('pin', $1) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql).bind(pin.unwrap_or_default()).execute(&self.writer).await?;
        Ok(())
    }

    /// Writes a copy of SQLite's database as of this moment into a new file; others go on meanwhile.
    pub async fn copy_into(&self, path: &Path) -> Result<(), DbError> {
        sqlx::query("VACUUM INTO $1").bind(path.to_string_lossy().into_owned()).execute(&self.writer).await?;
        Ok(())
    }

    /// Ends all connections. SQLite folds its write-ahead log into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn pool() -> AnyPoolOptions {
    AnyPoolOptions::new().acquire_timeout(ACQUIRE)
}

fn migrator() -> Migrator {
    let one = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator { migrations: MIGRATIONS.iter().map(one).collect::<Vec<_>>().into(), ..Migrator::DEFAULT }
}

/// Nobody but the hub reads its data: it holds hashes of everybody's secrets.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// The folder may have been made by somebody else, and be open to all. SQLite gives the files beside it its mode.
fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(|_| ())
}

/// A path as a URL's: what has a meaning there is written in percent form.
fn url_of_file(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut url = String::from("sqlite://");
    for c in text.chars() {
        match c {
            '%' => url.push_str("%25"),
            '?' => url.push_str("%3f"),
            '#' => url.push_str("%23"),
            c => url.push(c),
        }
    }
    url
}

/// A time as it stands in a column: RFC 3339 in UTC, always with microseconds, so that text compares as time does.
pub fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Reads a row's cells, with the table's name for what is wrong with them.
pub(crate) struct Cells<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a AnyRow,
}

impl Cells<'_> {
    pub(crate) fn text(&self, column: &'static str) -> Result<String, DbError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn maybe(&self, column: &'static str) -> Result<Option<String>, DbError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn number(&self, column: &'static str) -> Result<i64, DbError> {
        Ok(self.row.try_get(column)?)
    }

    pub(crate) fn truth(&self, column: &'static str) -> Result<bool, DbError> {
        Ok(self.number(column)? != 0)
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, DbError> {
        self.parsed(column)
    }

    pub(crate) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, DbError> {
        self.maybe(column)?.map(|text| self.parse(column, &text)).transpose()
    }

    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<T, DbError> {
        self.parse(column, &self.text(column)?)
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, DbError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|error| self.wrong(column, &text, error))
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
        text: &str,
    ) -> Result<T, DbError> {
        text.parse().map_err(|error: T::Err| self.wrong(column, text, error))
    }

    fn wrong(&self, column: &'static str, found: &str, expected: impl std::fmt::Display) -> DbError {
        let found = found.chars().take(120).collect();
        DbError::Row { table: self.table, column, found, expected: expected.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_compare_as_text() {
        let texts = ["2026-11-22T03:00:00Z", "2026-11-22T03:00:00.5Z", "2026-11-22T03:00:01Z"]
            .map(|text| time(text.parse().unwrap()));
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[0], "2026-11-22T03:00:00.000000Z");
    }
}
