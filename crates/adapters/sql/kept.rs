//! Statements that stay prepared. Diesel prepares every UPDATE and every upsert anew, because their text may depend on
//! the values. For those that are sent with each call to a model, whose text never changes, parsing them costs SQLite more
//! than running them, and PostgreSQL a round trip.

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement under the name `N`, a type of its own for each.
pub(crate) struct Kept<N, Q> {
    statement: Q,
    name: PhantomData<N>,
}

/// Keeps a statement prepared. All statements under one name must have the same text, whatever their values: none may
/// have conditions, columns or lists that come and go.
pub(crate) fn kept<N, Q>(statement: Q) -> Kept<N, Q> {
    Kept {
        statement,
        name: PhantomData,
    }
}

impl<DB: Backend, N, Q: QueryFragment<DB>> QueryFragment<DB> for Kept<N, Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.statement.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<N: 'static, Q> QueryId for Kept<N, Q> {
    type QueryId = N;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<N, Q: Query> Query for Kept<N, Q> {
    type SqlType = Q::SqlType;
}

impl<C, N, Q> diesel::RunQueryDsl<C> for Kept<N, Q> {}
