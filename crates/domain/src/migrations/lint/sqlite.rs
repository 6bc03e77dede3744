//! What SQLite refuses, or takes for something else.

use super::super::action::{
    Action, Column, Constraint, ConstraintKind, CreateTable, DefaultValue, Generated, TableChange,
};
use super::super::name::{Name, fold};
use super::super::token::{Token, TokenKind};
use super::{At, Found, rules};

pub(super) fn check(at: &At<'_>, action: &Action, found: &mut Found) {
    if at.place == 0 {
        quoted_text(at, found);
        unknown_form(at, found);
    }
    match action {
        Action::CreateTable(made) => rowid(made, found),
        Action::AlterTable { table, change } => alter(at, table, change, found),
        Action::Truncate { .. } => found.add(rules::NOT_IN_SQLITE, "SQLite knows no TRUNCATE".into()),
        Action::Drop { cascade: true, .. } => found.add(rules::NOT_IN_SQLITE, "SQLite knows no CASCADE here".into()),
        _ => {}
    }
}

/// What is known by its words alone.
fn unknown_form(at: &At<'_>, found: &mut Found) {
    let changes = at
        .step
        .actions
        .iter()
        .filter(|action| matches!(action, Action::AlterTable { .. }));
    if changes.count() > 1 {
        let message = "SQLite makes one change for each ALTER TABLE".into();
        found.add(rules::NOT_IN_SQLITE, message);
    }
    let concurrently = at.step.tokens.iter().take(5).any(|token| token.is("CONCURRENTLY"));
    if concurrently {
        found.add(rules::NOT_IN_SQLITE, "SQLite knows no CONCURRENTLY".into());
    }
}

fn alter(at: &At<'_>, table: &Name, change: &TableChange, found: &mut Found) {
    match change {
        TableChange::AddColumn {
            column,
            constraints,
            if_not_exists,
        } => {
            if *if_not_exists {
                found.add(rules::NOT_IN_SQLITE, "SQLite knows no IF NOT EXISTS of columns".into());
            }
            add_column(at, table, column, constraints, found);
        }
        TableChange::SetType { column, .. } | TableChange::Default { column } => {
            let message = format!("SQLite changes neither type nor default of {column}");
            found.add(rules::NOT_IN_SQLITE, message);
        }
        TableChange::AddConstraint(constraint) if constraint.kind != ConstraintKind::Check => {
            let message = format!("SQLite adds no constraint but CHECK to {table}");
            found.add(rules::NOT_IN_SQLITE, message);
        }
        TableChange::DropColumn { column, .. } => drop_column(at, table, column, found),
        TableChange::RenameTable { to } => rename(at, table, to, found),
        _ => {}
    }
}

/// (SQLite, "ALTER TABLE ADD COLUMN": what a new column may not have.)
fn add_column(at: &At<'_>, table: &Name, column: &Column, constraints: &[Constraint], found: &mut Found) {
    let name = &column.name;
    let unique = |constraint: &Constraint| {
        matches!(
            constraint.kind,
            ConstraintKind::Unique { .. } | ConstraintKind::PrimaryKey { .. }
        )
    };
    if constraints.iter().any(unique) {
        let message = format!("{name} of {table} is a key, which cannot be added");
        found.add(rules::ADD_UNIQUE_COLUMN, message);
    }
    if at.is_new(table) {
        return;
    }
    if matches!(
        column.default,
        Some(DefaultValue::Stable | DefaultValue::Volatile { .. })
    ) {
        let message = format!("the default of {name} is computed, which is refused if {table} has rows");
        found.add(rules::NON_CONSTANT_DEFAULT, message);
    }
    if column.generated == Some(Generated::Stored) {
        let message = format!("{name} is STORED, which is refused if {table} has rows");
        found.add(rules::ADD_STORED_COLUMN, message);
    }
}

/// What still names a column that is dropped, as far as the files tell.
fn drop_column(at: &At<'_>, table: &Name, column: &Name, found: &mut Found) {
    let Some(known) = at.schema.table(table) else { return };
    let key = known.keys.iter().find(|key| {
        let mut mentions = key.mentions.iter();
        mentions.any(|word| word == column.local())
    });
    let in_trigger = known.triggers.iter().find(|trigger| trigger.mentions(&[column]));
    let others = at
        .schema
        .tables
        .iter()
        .filter(|other| other.name != *table)
        .flat_map(|other| &other.triggers);
    let mut others = others.chain(&at.schema.views);
    let what = if let Some(key) = key {
        key.name.as_ref().map_or_else(|| "a key".into(), ToString::to_string)
    } else if let Some(user) = in_trigger.or_else(|| others.find(|user| user.mentions(&[table, column]))) {
        user.name.to_string()
    } else {
        return;
    };
    let message = format!("{what} still names {column} of {table}");
    found.add(rules::DROP_COLUMN_REFUSED, message);
}

fn rename(at: &At<'_>, table: &Name, to: &Name, found: &mut Found) {
    if !at.is_new(table) && at.comes_back(table) {
        let message = format!("what refers to {table} refers to {to} from now on, not to the new {table}");
        found.add(rules::RENAME_OLD_TABLE_AWAY, message);
    }
    let to = table.renamed(to);
    if at.schema.table(&to).is_some() {
        return;
    }
    let triggers = at.schema.tables.iter().flat_map(|table| &table.triggers);
    for user in at
        .schema
        .views
        .iter()
        .chain(triggers)
        .filter(|user| user.mentions(&[&to]))
    {
        let message = format!("{} names {to}, which is not there when {table} is renamed", user.name);
        found.add(rules::RENAME_BREAKS_VIEWS, message);
    }
}

/// A primary key of one column that is a number, and not the row's own.
fn rowid(made: &CreateTable, found: &mut Found) {
    let key = made
        .constraints
        .iter()
        .find(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }));
    let Some([name]) = key.map(|key| key.columns.as_slice()) else {
        return;
    };
    let column = made.columns.iter().find(|column| column.name == *name);
    let Some(column) = column.filter(|_| !made.without_rowid) else {
        return;
    };
    let base = &*column.data_type.base;
    if base.contains("int") && base != "integer" {
        let message = format!(
            "{name} of {} is {}, and not the row's own number",
            made.name, column.data_type
        );
        found.add(rules::ROWID_ALIAS, message);
    }
}

/// Text in double quotes, where there can be no name: as a default, among `VALUES`; and where it is compared, what no name
/// looks like.
fn quoted_text(place: &At<'_>, found: &mut Found) {
    let tokens = &place.step.tokens;
    let column = |token: &Token<'_>| {
        let name = fold(token, place.look.dialect);
        let columns = place.schema.tables.iter().flat_map(|table| &table.columns);
        columns.into_iter().any(|(column, _)| column.local() == name)
    };
    let mut depth_of_values: Option<usize> = None;
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let after = tokens.get(at + 1);
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        } else if token.is("VALUES") {
            depth_of_values = Some(depth);
        } else if token.is_symbol(";") || token.is("ON") || token.is("RETURNING") || token.is("SELECT") {
            depth_of_values = None;
        }
        if token.kind != TokenKind::Quoted || !token.text.starts_with('"') {
            continue;
        }
        let dotted = |next: Option<&Token<'_>>| next.is_some_and(|next| next.is_symbol("."));
        if dotted(before) || dotted(after) {
            continue;
        }
        let is = |words: &[&str]| before.is_some_and(|before| words.iter().any(|word| before.is(word)));
        let compared =
            is(&["LIKE", "GLOB"]) || before.is_some_and(|before| matches!(before.text, "=" | "==" | "<>" | "!="));
        let strange = token.text.len() == 2 || token.text.contains([' ', '@', '%', '/', ':', '-']);
        let no_name = compared && strange && !column(token);
        let value = depth_of_values.is_some_and(|values| depth == values + 1);
        if is(&["DEFAULT"]) || value || no_name {
            let message = format!("{} is a name, taken for text", token.text);
            found.add(rules::DOUBLE_QUOTED_TEXT, message);
        }
    }
}
