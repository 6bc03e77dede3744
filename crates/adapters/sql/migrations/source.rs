//! The engine's files as Diesel's own types, for those who bring a schema up by Diesel's harness: a test of an adapter, a
//! tool that has a connection of Diesel's. They get the statements one at a time, and the table of versions that the engine
//! goes by; not its lock, history and resumption.

use std::fmt;

use anteroom_domain::migrations::{Dialect, Migration as Files, Script, SourceFile, read_folder};
use diesel::backend::Backend;
use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration as DieselMigration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion, Result,
};

/// A folder of migrations as a [`MigrationSource`] of Diesel's: `connection.run_pending_migrations(source)`.
/// It is read as strictly as the engine reads it.
#[derive(Debug, Clone)]
pub struct DieselMigrations {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) dialect: Dialect,
}

impl<DB: Backend> MigrationSource<DB> for DieselMigrations {
    fn migrations(&self) -> Result<Vec<Box<dyn DieselMigration<DB>>>> {
        let read = read_folder(&self.files, self.dialect).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        let boxed = |files: Files| -> Box<dyn DieselMigration<DB>> { Box::new(One(files)) };
        Ok(read.into_iter().map(boxed).collect())
    }
}

struct One(Files);

impl One {
    fn send<DB: Backend>(script: &Script, connection: &mut dyn BoxableConnection<DB>) -> Result<()> {
        for statement in &script.statements {
            connection.batch_execute(&statement.sql)?;
        }
        Ok(())
    }
}

impl<DB: Backend> DieselMigration<DB> for One {
    fn run(&self, connection: &mut dyn BoxableConnection<DB>) -> Result<()> {
        if self.0.options.batch.is_some() {
            return Err(format!("{self} is a backfill, which `anteroom migrate up` runs").into());
        }
        Self::send(&self.0.up, connection)
    }

    fn revert(&self, connection: &mut dyn BoxableConnection<DB>) -> Result<()> {
        match (&self.0.down, &self.0.options.irreversible) {
            (Some(down), _) => Self::send(down, connection),
            (None, Some(reason)) => Err(format!("{self} cannot be taken back: {reason}").into()),
            (None, None) => Err(format!("{self} cannot be taken back: there is no down.sql").into()),
        }
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

impl MigrationMetadata for One {
    fn run_in_transaction(&self) -> bool {
        self.0.options.transaction
    }
}

impl MigrationName for One {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(self.0.version.as_str())
    }
}

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.folder)
    }
}
