//! Dangerous changes of a schema, told from the files alone, each with what to write instead.
//!
//! Sources of the rules: PostgreSQL 18, ALTER TABLE (notes), chapters 13.3 (Explicit Locking) and 5 (Data Definition);
//! SQLite, "ALTER TABLE" and its section "Making Other Kinds Of Table Schema Changes".

mod accepted;
mod advice;
mod constraints;
mod data;
mod files;
mod locks;
mod rules;
mod schema;
mod session;
mod sqlite;
mod suppression;
mod uses;

#[cfg(test)]
mod tests;

use super::action::{Action, TableChange, actions};
use super::effect::{Blocks, Effect, LockMode, effect_of};
use super::folder::{Migration, Script, Version};
use super::name::Name;
use super::statement::Statement;
use super::token::{Dialect, Token};
use schema::Schema;

pub use accepted::{Accepted, OWN_ACCEPTED};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works, and there is a better way.
    Advice,
    /// It works, and somebody waits, or something is lost.
    Danger,
    /// The database refuses it, or passes over it.
    Refused,
}

impl Level {
    /// For display.
    pub fn word(self) -> &'static str {
        match self {
            Self::Advice => "advice",
            Self::Danger => "danger",
            Self::Refused => "refused",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// As `lint:allow` calls it.
    pub name: &'static str,
    /// Where it holds.
    pub dialects: &'static [Dialect],
    /// How bad it is.
    pub level: Level,
    /// Whether it holds in `down.sql` too: to drop there what `up.sql` made is what it is for.
    pub in_down: bool,
    /// What happens.
    pub what: &'static str,
    /// What to write instead.
    pub safe_way: &'static str,
}

/// Every rule, for documentation.
pub fn rules() -> &'static [Rule] {
    rules::RULES
}

/// Which file of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// `up.sql`.
    Up,
    /// `down.sql`.
    Down,
}

impl File {
    /// As it is called in the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up.sql",
            Self::Down => "down.sql",
        }
    }
}

/// Something dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: &'static str,
    /// How bad it is.
    pub level: Level,
    /// In which file.
    pub file: File,
    /// Where its statement begins, from 1.
    pub line: usize,
    /// What happens, to which table.
    pub message: String,
    /// What to write instead.
    pub safe_way: &'static str,
    /// Why it is accepted, if it is: the reason after `lint:allow`.
    pub suppressed: Option<String>,
}

/// What is dangerous in a migration, in the order of its lines, `up.sql` first. Nothing is known of the tables that it does
/// not make itself; see [`lint_folder`]. `-- lint:allow <rule>: <reason>` before a statement accepts a finding, and
/// `-- lint:allow-file <rule>: <reason>` all of a file.
pub fn lint(migration: &Migration, dialect: Dialect) -> Vec<Finding> {
    lint_after(migration, dialect, &mut Schema::default(), None)
}

/// What is dangerous in the migrations of a folder, oldest first. Of what earlier ones have made, types, indexes, checks and
/// views are known, and of foreign keys whether a later one makes the index.
pub fn lint_folder(migrations: &[Migration], dialect: Dialect) -> Vec<(Version, Finding)> {
    let mut last = Schema::default();
    for migration in migrations {
        apply(&mut last, &migration.up, dialect);
        last.settle();
    }
    let mut schema = Schema::default();
    let mut found = Vec::new();
    for migration in migrations {
        let findings = lint_after(migration, dialect, &mut schema, Some(&last));
        found.extend(findings.into_iter().map(|finding| (migration.version.clone(), finding)));
    }
    found
}

/// The same of Anteroom's own migrations: what they were released with is accepted.
pub fn lint_own(migrations: &[Migration], dialect: Dialect) -> Vec<(Version, Finding)> {
    let mut found = lint_folder(migrations, dialect);
    for (version, finding) in &mut found {
        let accepted = |known: &&Accepted| known.version == version.as_str() && known.rule == finding.rule;
        if let Some(known) = OWN_ACCEPTED.iter().find(accepted) {
            finding.suppressed = Some(known.reason.into());
        }
    }
    found
}

fn apply(schema: &mut Schema, script: &Script, dialect: Dialect) {
    for statement in &script.statements {
        for action in actions(statement, dialect) {
            schema.apply(&action);
        }
    }
}

/// Looks at both files. The schema is then the one after `up.sql`; `last` is the one after the folder's last.
fn lint_after(migration: &Migration, dialect: Dialect, schema: &mut Schema, last: Option<&Schema>) -> Vec<Finding> {
    let before = schema.clone();
    apply(schema, &migration.up, dialect);
    let up = Look::new(migration, File::Up, &migration.up, dialect, &before);
    let mut found = Found::default();
    up.run(&before, last, &mut found);
    schema.settle();
    let mut findings = found.finish(&up);
    if let Some(down) = &migration.down {
        let down = Look::new(migration, File::Down, down, dialect, schema);
        let mut found = Found::default();
        down.run(&before, None, &mut found);
        findings.extend(found.finish(&down));
    }
    files::check(migration, &up, &mut findings);
    findings
}

/// A file that is looked at.
struct Look<'a> {
    migration: &'a Migration,
    file: File,
    dialect: Dialect,
    /// Whether all of it is one transaction.
    in_transaction: bool,
    /// The schema before it.
    before: &'a Schema,
    steps: Vec<Step<'a>>,
}

/// A statement, and what it does.
struct Step<'a> {
    statement: &'a Statement,
    tokens: Vec<Token<'a>>,
    actions: Vec<Action>,
    effect: Effect,
    /// Its locks of tables that were there before the file.
    existing: Vec<(Name, LockMode)>,
}

impl Step<'_> {
    /// Whether it keeps somebody away from a table that was there before.
    fn blocks(&self, table: &Name) -> bool {
        self.existing
            .iter()
            .any(|(name, mode)| name == table && mode.blocks() != Blocks::Nothing)
    }
}

impl<'a> Look<'a> {
    fn new(migration: &'a Migration, file: File, script: &'a Script, dialect: Dialect, before: &'a Schema) -> Self {
        let mut schema = before.clone();
        let mut steps = Vec::new();
        for statement in &script.statements {
            let actions = actions(statement, dialect);
            let effect = effect_of(&actions, dialect);
            let mut existing = effect.locks.clone();
            let on_new = |name: &Name| schema.table_of_index(name).is_some_and(|table| table.new);
            existing.retain(|(name, _)| !schema.is_new(name) && !on_new(name));
            for action in &actions {
                schema.apply(action);
            }
            steps.push(Step {
                statement,
                tokens: statement.tokens(dialect),
                actions,
                effect,
                existing,
            });
        }
        Self {
            migration,
            file,
            dialect,
            // A backfill has one for each batch.
            in_transaction: migration.options.transaction && migration.options.batch.is_none(),
            before,
            steps,
        }
    }

    /// Looks at each statement with what is known of the schema before it, and then at the file as a whole. `origin` is the
    /// schema before `up.sql`.
    fn run(&self, origin: &Schema, last: Option<&Schema>, found: &mut Found) {
        let mut schema = self.before.clone();
        for (index, step) in self.steps.iter().enumerate() {
            for (place, action) in step.actions.iter().enumerate() {
                let at = At {
                    look: self,
                    index,
                    step,
                    place,
                    schema: &schema,
                };
                found.at = Some(index);
                match self.dialect {
                    Dialect::Postgres => {
                        locks::check(&at, action, found);
                        constraints::check(&at, action, found);
                    }
                    Dialect::Sqlite => sqlite::check(&at, action, found),
                }
                advice::check(&at, action, found);
                uses::check(&at, action, found);
                data::check(&at, action, found);
                session::check(&at, action, found);
                schema.apply(action);
            }
        }
        advice::check_keys(self, &schema, last, found);
        locks::check_file(self, found);
        data::check_file(self, found);
        uses::check_file(self, origin, &schema, found);
    }

    /// The actions of the file, each with its statement's place.
    fn actions(&self) -> impl Iterator<Item = (usize, &Action)> {
        let steps = self.steps.iter().enumerate();
        steps.flat_map(|(index, step)| step.actions.iter().map(move |action| (index, action)))
    }
}

/// A place in a file.
struct At<'a> {
    look: &'a Look<'a>,
    index: usize,
    step: &'a Step<'a>,
    /// Which of the statement's actions.
    place: usize,
    /// The schema before it.
    schema: &'a Schema,
}

impl At<'_> {
    fn is_new(&self, table: &Name) -> bool {
        self.schema.is_new(table)
    }

    fn earlier(&self) -> impl Iterator<Item = &Action> {
        let before = self.look.steps[..self.index].iter().flat_map(|step| &step.actions);
        before.chain(&self.step.actions[..self.place])
    }

    fn later(&self) -> impl Iterator<Item = &Action> {
        let after = self.look.steps[self.index + 1..].iter().flat_map(|step| &step.actions);
        self.step.actions[self.place + 1..].iter().chain(after)
    }

    /// Whether something has this name again before the file is over.
    fn comes_back(&self, name: &Name) -> bool {
        self.later().any(|action| match action {
            Action::CreateTable(made) => made.name == *name,
            Action::CreateView { name: made, .. } => made == name,
            Action::AlterTable {
                table,
                change: TableChange::RenameTable { to },
            } => table.renamed(to) == *name,
            _ => false,
        })
    }

    /// Of a table of which nothing is known: whether a constraint of it is validated before, or one is dropped after, as it
    /// is once it has been the proof.
    fn has_proof(&self, of: &Name) -> bool {
        let validated = self.earlier().any(|action| {
            matches!(action, Action::AlterTable { table, change: TableChange::ValidateConstraint { .. } } if table == of)
        });
        let dropped = || {
            self.later().any(|action| {
                matches!(action, Action::AlterTable { table, change: TableChange::DropConstraint { .. } } if table == of)
            })
        };
        validated || dropped()
    }
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    /// The statement that is looked at.
    at: Option<usize>,
    found: Vec<(usize, Rule, String)>,
}

impl Found {
    fn add(&mut self, rule: Rule, message: String) {
        let index = self.at.unwrap_or_default();
        self.found.push((index, rule, message));
    }

    fn add_at(&mut self, index: usize, rule: Rule, message: String) {
        self.found.push((index, rule, message));
    }

    /// In the order of lines, each once, with what the comments allow.
    fn finish(mut self, look: &Look<'_>) -> Vec<Finding> {
        let read: Vec<_> = look
            .steps
            .iter()
            .map(|step| suppression::allowed(step.statement))
            .collect();
        for (index, (_, wrong)) in read.iter().enumerate() {
            for text in wrong {
                self.found.push((index, rules::BAD_SUPPRESSION, text.clone()));
            }
        }
        self.found
            .retain(|(_, rule, _)| rule.dialects.contains(&look.dialect) && (rule.in_down || look.file == File::Up));
        self.found.sort_by_key(|(index, ..)| *index);
        let mut findings: Vec<Finding> = Vec::new();
        for (index, rule, message) in self.found {
            let here = read
                .get(index)
                .map(|(allowed, _)| allowed.as_slice())
                .unwrap_or_default();
            let mut everywhere = read
                .iter()
                .flat_map(|(allowed, _)| allowed)
                .filter(|allowed| allowed.everywhere);
            let allowed = here.iter().find(|allowed| allowed.rule == rule.name);
            let allowed = allowed.or_else(|| everywhere.find(|allowed| allowed.rule == rule.name));
            let finding = Finding {
                rule: rule.name,
                level: rule.level,
                file: look.file,
                line: look.steps.get(index).map_or(1, |step| step.statement.line),
                message,
                safe_way: rule.safe_way,
                suppressed: allowed.map(|allowed| allowed.reason.clone()),
            };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        findings
    }
}
