//! What the migrations so far have made, as far as their files tell.

use super::super::action::{
    Action, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, DataType, ObjectKind, TableChange,
};
use super::super::name::Name;

/// What is known of the schema at a place in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    pub tables: Vec<Table>,
    pub views: Vec<View>,
}

/// What is known of a table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: Name,
    /// Made by the file that is looked at: it is empty, and nobody knows it yet.
    pub new: bool,
    /// Whether the files have made it, so that it has nothing that is not known.
    pub whole: bool,
    pub columns: Vec<(Name, DataType)>,
    pub keys: Vec<Key>,
    pub checks: Vec<Check>,
    pub triggers: Vec<View>,
}

/// An index, or what has one.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub name: Option<Name>,
    /// Made by `CREATE INDEX`.
    pub index: bool,
    pub columns: Vec<Name>,
    /// The columns that must have a value for a row to be in it. `None` under another condition.
    partial: Option<Vec<Name>>,
    pub mentions: Vec<String>,
}

/// A constraint that rows that are there may break.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub name: Option<Name>,
    /// The columns that it only demands to have a value.
    pub never_null: Vec<Name>,
    pub valid: bool,
}

/// A view or a trigger.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub name: Name,
    pub mentions: Vec<String>,
}

impl View {
    /// Whether all of these names are in it.
    pub fn mentions(&self, names: &[&Name]) -> bool {
        names
            .iter()
            .all(|name| self.mentions.iter().any(|word| word == name.local()))
    }
}

impl Table {
    fn unknown(name: Name) -> Self {
        Self {
            name,
            new: false,
            whole: false,
            columns: Vec::new(),
            keys: Vec::new(),
            checks: Vec::new(),
            triggers: Vec::new(),
        }
    }

    /// Whether an index finds its rows by these columns.
    pub fn has_key(&self, columns: &[Name]) -> bool {
        self.keys.iter().any(|key| {
            let begin = key.columns.get(..columns.len()).unwrap_or_default();
            let partial = key.partial.as_ref();
            !begin.is_empty()
                && begin.iter().all(|column| columns.contains(column))
                && partial.is_some_and(|needed| needed.iter().all(|column| columns.contains(column)))
        })
    }

    /// A column's type, if it is known.
    pub fn data_type(&self, column: &Name) -> Option<&DataType> {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map(|(_, data_type)| data_type)
    }

    fn constrain(&mut self, constraint: &Constraint) {
        let valid = !constraint.not_valid;
        match &constraint.kind {
            ConstraintKind::Unique { using_index: false } | ConstraintKind::PrimaryKey { using_index: false } => {
                self.keys.push(Key {
                    name: constraint.name.clone(),
                    index: false,
                    columns: constraint.columns.clone(),
                    partial: Some(Vec::new()),
                    mentions: constraint.columns.iter().map(|name| name.local().to_owned()).collect(),
                });
            }
            ConstraintKind::Check | ConstraintKind::NotNull => self.checks.push(Check {
                name: constraint.name.clone(),
                never_null: constraint.columns.clone(),
                valid,
            }),
            _ => {}
        }
    }

    fn add(&mut self, column: &Column) {
        self.columns.push((column.name.clone(), column.data_type.clone()));
    }

    fn change(&mut self, change: &TableChange) {
        match change {
            TableChange::AddColumn {
                column, constraints, ..
            } => {
                self.add(column);
                for constraint in constraints {
                    self.constrain(constraint);
                }
            }
            TableChange::DropColumn { column, .. } => {
                self.columns.retain(|(name, _)| name != column);
                self.keys
                    .retain(|key| !key.mentions.iter().any(|word| word == column.local()));
            }
            TableChange::SetType { column, to, .. } => {
                for (_, data_type) in self.columns.iter_mut().filter(|(name, _)| name == column) {
                    *data_type = to.clone();
                }
            }
            TableChange::AddConstraint(constraint) => self.constrain(constraint),
            TableChange::ValidateConstraint { name } => {
                for check in self.checks.iter_mut().filter(|check| check.name.as_ref() == Some(name)) {
                    check.valid = true;
                }
            }
            TableChange::DropConstraint { name, .. } => {
                self.checks.retain(|check| check.name.as_ref() != Some(name));
                self.keys.retain(|key| key.name.as_ref() != Some(name));
            }
            TableChange::RenameColumn { from, to } => {
                for (name, _) in self.columns.iter_mut().filter(|(name, _)| name == from) {
                    *name = to.clone();
                }
                for key in &mut self.keys {
                    for name in key.columns.iter_mut().filter(|name| *name == from) {
                        *name = to.clone();
                    }
                    for word in key.mentions.iter_mut().filter(|word| *word == from.local()) {
                        to.local().clone_into(word);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Schema {
    pub fn table(&self, name: &Name) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == *name)
    }

    /// Whether the file that is looked at has made it.
    pub fn is_new(&self, name: &Name) -> bool {
        self.table(name).is_some_and(|table| table.new)
    }

    /// The table that an index is on. The index is in its schema, whatever schema is named.
    pub fn table_of_index(&self, index: &Name) -> Option<&Table> {
        let is_it = |key: &Key| key.index && key.name.as_ref().is_some_and(|name| name.local() == index.local());
        self.tables.iter().find(|table| table.keys.iter().any(is_it))
    }

    /// The file is over: what it has made is there.
    pub fn settle(&mut self) {
        for table in &mut self.tables {
            table.new = false;
        }
    }

    fn entry(&mut self, name: &Name) -> Option<&mut Table> {
        if self.table(name).is_none() {
            self.tables.push(Table::unknown(name.clone()));
        }
        self.tables.iter_mut().find(|table| table.name == *name)
    }

    /// What a statement makes of it.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::CreateTable(made) => self.create(made),
            Action::CreateIndex(index) => self.index(index),
            Action::AlterTable { table, change } => self.alter(table, change),
            Action::DropIndex { names, .. } => {
                for key in self.tables.iter_mut().map(|table| &mut table.keys) {
                    key.retain(|key| !(key.index && key.name.as_ref().is_some_and(|name| named(names, name))));
                }
            }
            Action::RenameIndex { from, to } => {
                let keys = self.tables.iter_mut().flat_map(|table| &mut table.keys);
                for key in keys.filter(|key| key.name.as_ref().is_some_and(|name| name.local() == from.local())) {
                    key.name = Some(to.clone());
                }
            }
            Action::Drop {
                kind: ObjectKind::Table,
                names,
                ..
            } => {
                self.tables.retain(|table| !names.contains(&table.name));
            }
            Action::Drop {
                kind: ObjectKind::View | ObjectKind::MaterializedView,
                names,
                ..
            } => {
                self.views.retain(|view| !names.contains(&view.name));
                self.tables.retain(|table| !names.contains(&table.name));
            }
            Action::Drop {
                kind: ObjectKind::Trigger,
                names,
                ..
            } => {
                for table in &mut self.tables {
                    table.triggers.retain(|trigger| !named(names, &trigger.name));
                }
            }
            Action::CreateTrigger { name, table, mentions } => {
                let trigger = View {
                    name: name.clone(),
                    mentions: mentions.clone(),
                };
                if let Some(table) = self.entry(table) {
                    table.triggers.push(trigger);
                }
            }
            Action::CreateView { name, mentions } => self.views.push(View {
                name: name.clone(),
                mentions: mentions.clone(),
            }),
            _ => {}
        }
    }

    fn create(&mut self, made: &CreateTable) {
        if self.table(&made.name).is_some() {
            return;
        }
        let mut table = Table::unknown(made.name.clone());
        (table.new, table.whole) = (true, true);
        for column in &made.columns {
            table.add(column);
        }
        for constraint in &made.constraints {
            table.constrain(constraint);
        }
        self.tables.push(table);
    }

    fn index(&mut self, index: &CreateIndex) {
        let key = Key {
            name: index.name.clone(),
            index: true,
            columns: index.columns.clone(),
            partial: index.partial.clone(),
            mentions: index.mentions.clone(),
        };
        if let Some(table) = self.entry(&index.table) {
            table.keys.push(key);
        }
    }

    fn alter(&mut self, table: &Name, change: &TableChange) {
        match change {
            TableChange::RenameTable { to } => {
                let to = table.renamed(to);
                for known in self.tables.iter_mut().filter(|known| known.name == *table) {
                    known.name = to.clone();
                }
                for view in self.views.iter_mut().filter(|view| view.name == *table) {
                    view.name = to.clone();
                }
            }
            TableChange::SetSchema => self.tables.retain(|known| known.name != *table),
            change => {
                if let Some(table) = self.entry(table) {
                    table.change(change);
                }
            }
        }
    }
}

/// Whether one of these names is this, whatever the schema.
pub(super) fn named(names: &[Name], name: &Name) -> bool {
    names.iter().any(|known| known.local() == name.local())
}
