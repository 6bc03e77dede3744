//! Columns, their types and constraints, as `CREATE TABLE` and `ALTER TABLE` write them.
//!
//! Rules: PostgreSQL 18, CREATE TABLE and ALTER TABLE; SQLite, "CREATE TABLE" and "ALTER TABLE".

use std::fmt;

use super::super::cursor::Cursor;
use super::super::name::{Name, fold};
use super::super::token::{Dialect, Token, TokenKind};

/// A column that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Name,
    /// What it holds.
    pub data_type: DataType,
    /// Whether it must have a value; a primary key must.
    pub not_null: bool,
    /// What it holds where nothing is said. `None` without `DEFAULT`.
    pub default: Option<DefaultValue>,
    /// Whether it is computed from other columns.
    pub generated: Option<Generated>,
    /// Whether it counts up by itself, by `GENERATED … AS IDENTITY`.
    pub identity: bool,
}

impl Column {
    /// Whether rows that are there get a value by themselves, by a default, a sequence or an expression.
    pub fn has_value(&self) -> bool {
        let default = self.default.as_ref().is_some_and(|value| *value != DefaultValue::Null);
        default || self.identity || self.generated.is_some() || self.data_type.is_serial()
    }
}

/// How a column is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    /// When it is written.
    Stored,
    /// When it is read.
    Virtual,
}

/// What a default is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultValue {
    /// `NULL`.
    Null,
    /// The same whenever it is asked for.
    Constant,
    /// The same for all rows of one statement: `now()`. With SQLite, any expression.
    Stable,
    /// Another one for each row, as far as is known.
    Volatile {
        /// The function that makes it so.
        function: String,
    },
}

/// A type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataType {
    /// As it is written, with one space between words.
    pub written: String,
    /// The one name of those it has: `integer` for `int4`, `timestamptz` for `timestamp with time zone`. In lower case,
    /// without its arguments.
    pub base: String,
    /// Its arguments: `10, 2` of `numeric(10, 2)`.
    pub arguments: Vec<u32>,
    /// Whether it is an array of these.
    pub array: bool,
}

impl DataType {
    /// Whether it is an integer with a sequence of its own.
    pub fn is_serial(&self) -> bool {
        matches!(&*self.base, "serial" | "bigserial" | "smallserial")
    }

    fn same_kind(&self, other: &Self) -> bool {
        self.base == other.base && self.array == other.array
    }

    /// Whether what is stored as this type can stay as it is when the column becomes the other (PostgreSQL, ALTER TABLE,
    /// notes: binary coercible types, and lengths that only grow).
    pub fn widens_to(&self, to: &Self) -> bool {
        if self == to || (self.same_kind(to) && self.arguments == to.arguments) {
            return true;
        }
        if self.array || to.array {
            return false;
        }
        let (from, into) = (self.arguments.first(), to.arguments.first());
        let longer = match (from, into) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(from), Some(into)) => from <= into,
        };
        match (&*self.base, &*to.base) {
            ("varchar" | "text", "text") | ("cidr", "inet") => true,
            ("text", "varchar") => into.is_none(),
            ("numeric", "numeric") => longer && (into.is_none() || self.arguments.get(1) == to.arguments.get(1)),
            (from, into) if from == into => longer && LENGTHENS.contains(&from),
            _ => false,
        }
    }
}

/// Types whose argument is a length, or a number of digits, that may grow without a change of what is stored.
const LENGTHENS: [&str; 7] = [
    "varchar",
    "varbit",
    "timestamp",
    "timestamptz",
    "time",
    "timetz",
    "interval",
];

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A constraint that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name; the database makes one up without it.
    pub name: Option<Name>,
    /// What it demands.
    pub kind: ConstraintKind,
    /// Of which columns: of a check, those that it only wants to have a value.
    pub columns: Vec<Name>,
    /// Whether rows that are there are left alone.
    pub not_valid: bool,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintKind {
    /// That an expression is not false.
    Check,
    /// That no two rows are alike.
    Unique {
        /// Whether an index that is there is taken for it.
        using_index: bool,
    },
    /// The same, and that there is a value.
    PrimaryKey {
        /// Whether an index that is there is taken for it.
        using_index: bool,
    },
    /// That the row is there which it names.
    ForeignKey {
        /// In which table.
        references: Name,
    },
    /// That no two rows are alike in a way that it says.
    Exclude,
    /// That there is a value.
    NotNull,
}

/// Words that end a type or a default, and begin what else is said of a column.
const CLAUSES: [&str; 16] = [
    "CONSTRAINT",
    "NOT",
    "NULL",
    "DEFAULT",
    "CHECK",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    "GENERATED",
    "COLLATE",
    "AS",
    "STORAGE",
    "COMPRESSION",
    "DEFERRABLE",
    "INITIALLY",
    "USING",
];

/// A column and its constraints.
pub(super) fn column(mut cursor: Cursor<'_>) -> Option<(Column, Vec<Constraint>)> {
    let name = cursor.name()?;
    let mut column = Column {
        name,
        data_type: data_type(&mut cursor),
        not_null: false,
        default: None,
        generated: None,
        identity: false,
    };
    let mut constraints = Vec::new();
    while !cursor.is_empty() {
        let name = if cursor.eat("CONSTRAINT") { cursor.name() } else { None };
        if let Some(kind) = column_constraint(&mut cursor, &mut column) {
            // What a column's own check demands is not looked at.
            let check = kind == ConstraintKind::Check;
            let columns = if check { Vec::new() } else { vec![column.name.clone()] };
            constraints.push(Constraint {
                name,
                kind,
                columns,
                not_valid: false,
            });
        }
    }
    Some((column, constraints))
}

/// One thing that is said of a column. Goes on by one token at least.
fn column_constraint(cursor: &mut Cursor<'_>, column: &mut Column) -> Option<ConstraintKind> {
    if cursor.eat("NOT NULL") {
        column.not_null = true;
    } else if cursor.eat("DEFAULT") {
        let value = cursor.until(&CLAUSES);
        column.default = Some(default_value(value));
    } else if cursor.eat("CHECK") {
        cursor.group();
        return Some(ConstraintKind::Check);
    } else if cursor.eat("UNIQUE") {
        return Some(ConstraintKind::Unique { using_index: false });
    } else if cursor.eat("PRIMARY KEY") {
        column.not_null = true;
        return Some(ConstraintKind::PrimaryKey { using_index: false });
    } else if cursor.eat("REFERENCES") {
        return references(cursor);
    } else if cursor.eat("GENERATED ALWAYS AS IDENTITY") || cursor.eat("GENERATED BY DEFAULT AS IDENTITY") {
        column.identity = true;
        column.not_null = true;
    } else if cursor.eat("GENERATED ALWAYS AS") || cursor.eat("AS") {
        cursor.group();
        let stored = cursor.eat("STORED");
        column.generated = Some(if stored { Generated::Stored } else { Generated::Virtual });
    } else {
        cursor.skip();
    }
    None
}

/// What follows `REFERENCES`. `ON DELETE SET NULL` says nothing of the column.
fn references(cursor: &mut Cursor<'_>) -> Option<ConstraintKind> {
    let references = cursor.name()?;
    cursor.group();
    loop {
        if cursor.eat("MATCH") {
            cursor.take();
        } else if cursor.eat_any(&["ON DELETE", "ON UPDATE"]) {
            let known = ["SET NULL", "SET DEFAULT", "NO ACTION", "CASCADE", "RESTRICT"];
            cursor.eat_any(&known);
            cursor.group();
        } else if !cursor.eat_any(&["NOT DEFERRABLE", "NOT VALID", "NOT ENFORCED"]) {
            break;
        }
    }
    Some(ConstraintKind::ForeignKey { references })
}

/// A constraint of a table, if that is what it is.
pub(super) fn constraint(mut cursor: Cursor<'_>) -> Option<Constraint> {
    let name = if cursor.eat("CONSTRAINT") {
        Some(cursor.name()?)
    } else {
        None
    };
    let not_valid = cursor.has("NOT VALID");
    let mut columns = Vec::new();
    let kind = if cursor.eat("CHECK") {
        columns = cursor.group().map(never_null).unwrap_or_default();
        ConstraintKind::Check
    } else if cursor.eat("UNIQUE") {
        let using_index = keys(cursor, &mut columns);
        ConstraintKind::Unique { using_index }
    } else if cursor.eat("PRIMARY KEY") {
        let using_index = keys(cursor, &mut columns);
        ConstraintKind::PrimaryKey { using_index }
    } else if cursor.eat("FOREIGN KEY") {
        columns = cursor.group()?.columns();
        cursor = cursor.after("REFERENCES")?;
        references(&mut cursor)?
    } else if cursor.eat("NOT NULL") {
        columns.extend(cursor.name());
        ConstraintKind::NotNull
    } else if cursor.eat("EXCLUDE USING") || (cursor.eat("EXCLUDE") && cursor.is_symbol("(")) {
        ConstraintKind::Exclude
    } else {
        return None;
    };
    Some(Constraint {
        name,
        kind,
        columns,
        not_valid,
    })
}

/// Reads `(columns)` or `USING INDEX`. Whether it is that.
fn keys(mut cursor: Cursor<'_>, columns: &mut Vec<Name>) -> bool {
    cursor.eat_any(&["NULLS NOT DISTINCT", "NULLS DISTINCT"]);
    match cursor.group() {
        Some(group) => *columns = group.columns(),
        None => return cursor.eat("USING INDEX"),
    }
    false
}

/// The columns of which an expression demands no more than that they have a value: `a IS NOT NULL AND (b IS NOT NULL)`.
/// Parentheses change nothing between ANDs.
pub(super) fn never_null(expression: Cursor<'_>) -> Vec<Name> {
    let mut tokens = expression.rest().to_vec();
    tokens.retain(|token| !token.is_symbol("(") && !token.is_symbol(")"));
    let mut cursor = Cursor::new(&tokens, expression.dialect);
    let mut columns = Vec::new();
    while let Some(name) = cursor.name().filter(|_| cursor.eat("IS NOT NULL")) {
        columns.push(name);
        if cursor.is_empty() {
            return columns;
        }
        if !cursor.eat("AND") {
            break;
        }
    }
    Vec::new()
}

/// A type, up to what else is said of the column. SQLite's columns need none.
pub(super) fn data_type(cursor: &mut Cursor<'_>) -> DataType {
    let dialect = cursor.dialect;
    let mut found = DataType {
        written: String::new(),
        base: String::new(),
        arguments: Vec::new(),
        array: false,
    };
    let mut words: Vec<String> = Vec::new();
    while !cursor.is_empty() && !cursor.is_any(&CLAUSES) {
        if let Some(arguments) = cursor.group() {
            let numbers = arguments.rest().iter().map(|token| token.text);
            found.written.push('(');
            found.written.extend(numbers.clone());
            found.written.push(')');
            if found.arguments.is_empty() {
                found.arguments = numbers.filter_map(|text| text.parse().ok()).collect();
            }
            continue;
        }
        let Some(token) = cursor.take() else { break };
        let name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
        if name && !found.written.is_empty() && !found.written.ends_with('.') {
            found.written.push(' ');
        }
        found.written.push_str(token.text);
        if token.is_symbol("[") || token.is("ARRAY") {
            found.array = true;
        } else if name {
            words.push(fold(token, dialect));
        }
    }
    found.base = base(&words, dialect);
    found
}

/// The one name for a type's several names.
fn base(words: &[String], dialect: Dialect) -> String {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "pg_catalog")
        .collect();
    let text = words.join(" ");
    if dialect == Dialect::Sqlite {
        return text;
    }
    match text.as_str() {
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "serial4" => "serial",
        "serial8" => "bigserial",
        "serial2" => "smallserial",
        "character varying" | "char varying" | "nchar varying" => "varchar",
        "character" | "bpchar" | "nchar" | "national character" => "char",
        "bit varying" => "varbit",
        "decimal" | "dec" => "numeric",
        "bool" => "boolean",
        "float8" | "float" => "double precision",
        "float4" => "real",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        other => other,
    }
    .to_owned()
}

/// Functions whose answer is the same for all rows of one statement, or always (PostgreSQL's `pg_proc.provolatile`), of
/// those that stand in defaults. Of the others it is not known.
const NOT_VOLATILE: [&str; 44] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "date_trunc",
    "date_part",
    "extract",
    "make_date",
    "make_interval",
    "make_timestamp",
    "make_timestamptz",
    "to_timestamp",
    "to_date",
    "to_char",
    "age",
    "timezone",
    "lower",
    "upper",
    "trim",
    "btrim",
    "concat",
    "concat_ws",
    "substring",
    "substr",
    "replace",
    "md5",
    "sha256",
    "encode",
    "decode",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "abs",
    "round",
    "jsonb_build_object",
    "jsonb_build_array",
    "json_build_object",
    "json_build_array",
    "to_jsonb",
    "to_tsvector",
    "array_fill",
    "current_setting",
    "current_schema",
    "int4range",
];

/// What stands before a parenthesis and is no function, or whose name says nothing of its volatility.
const NO_FUNCTION: [&str; 8] = ["cast", "in", "and", "or", "not", "array", "row", "any"];

/// Values that are written without parentheses, and are the same for all rows of one statement.
const STABLE: [&str; 10] = [
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "current_catalog",
];

/// What a default is.
pub(super) fn default_value(cursor: Cursor<'_>) -> DefaultValue {
    let tokens = cursor.rest();
    if cursor.dialect == Dialect::Sqlite {
        return sqlite_default(cursor);
    }
    if tokens.first().is_some_and(|token| token.is("NULL")) {
        return DefaultValue::Null;
    }
    let mut found = DefaultValue::Constant;
    for (at, token) in tokens.iter().enumerate() {
        if !matches!(token.kind, TokenKind::Word | TokenKind::Quoted) {
            continue;
        }
        let name = fold(token, cursor.dialect);
        // `'x'::varchar(20)` and `CAST('x' AS varchar(20))` are types.
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_type = before.is_some_and(|before: &Token<'_>| before.is_symbol("::") || before.is("AS"));
        let called = tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
        if STABLE.contains(&&*name) || (called && NOT_VOLATILE.contains(&&*name)) {
            found = DefaultValue::Stable;
        } else if called && !is_type && !NO_FUNCTION.contains(&&*name) {
            return DefaultValue::Volatile { function: name };
        }
    }
    found
}

/// SQLite takes a value, a signed number or one of them in parentheses for a constant, and nothing else.
fn sqlite_default(mut cursor: Cursor<'_>) -> DefaultValue {
    while let Some(inner) = cursor.group() {
        cursor = inner;
    }
    cursor.eat_symbol("-");
    cursor.eat_symbol("+");
    match cursor.rest() {
        [only] if only.is("NULL") => DefaultValue::Null,
        [only] if !STABLE.contains(&&*fold(only, cursor.dialect)) => DefaultValue::Constant,
        _ => DefaultValue::Stable,
    }
}
