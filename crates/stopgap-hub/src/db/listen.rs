//! PostgreSQL's LISTEN: what another hub on the same database committed.

use sqlx::postgres::PgListener;

use super::{Db, DbError, Kind};

/// Hears what [`super::Change::notify`] says on any hub.
pub struct Ear(PgListener);

impl Db {
    /// Begins to listen; `None` on SQLite, which has one hub.
    pub async fn ear(&self) -> Result<Option<Ear>, DbError> {
        if self.kind() != Kind::Postgres {
            return Ok(None);
        }
        let mut listener = PgListener::connect(self.url()).await?;
        listener.listen("stopgap").await?;
        Ok(Some(Ear(listener)))
    }
}

impl Ear {
    /// The next that was said; `None`: the connection was lost for a while, and something may have been missed.
    pub async fn hear(&mut self) -> Result<Option<String>, DbError> {
        Ok(self.0.try_recv().await?.map(|said| said.payload().to_owned()))
    }
}
