//! The production store: PostgreSQL.
