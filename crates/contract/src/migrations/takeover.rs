//! Databases that were there before.

use anteroom_domain::migrations::{Dialect, Outcome};
use anteroom_ports::MigrationFault;
use anteroom_services::migrations::{Baseline, MigrateError};

use super::{Files, TestApplication, on, states, up, versions};

const TWO: Files<'_> = &[
    ("1_a/up.sql", "CREATE TABLE a (id INTEGER)"),
    ("2_b/up.sql", "CREATE TABLE b (id INTEGER)"),
    ("3_c/up.sql", "CREATE TABLE c (id INTEGER)"),
];

/// Up to where it is, and only once.
pub async fn a_schema_that_is_there_is_taken_over(app: &dyn TestApplication) {
    app.execute("CREATE TABLE a (id INTEGER); CREATE TABLE b (id INTEGER)")
        .await;
    let two = || Baseline::To("2".parse().unwrap());
    let nine = Baseline::To("9".parse().unwrap());
    assert!(on(app.open(), TWO).baseline(&nine).await.is_err());
    let runs = on(app.open(), TWO).baseline(&two()).await.unwrap();
    assert_eq!(versions(&runs), ["1", "2"]);
    assert!(runs.iter().all(|run| run.outcome == Outcome::Baselined));
    assert_eq!(on(app.open(), TWO).drift().await.unwrap().differences, []);
    assert_eq!(versions(&up(app, TWO).await.unwrap()), ["3"]);
    let again = on(app.open(), TWO).baseline(&two()).await.unwrap_err();
    assert!(again.to_string().contains("3 migrations are noted"), "{again}");
}

/// With what its table says.
pub async fn what_diesel_applied_is_taken_over(app: &dyn TestApplication) {
    app.execute(
        "CREATE TABLE a (id INTEGER); CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); INSERT INTO __diesel_schema_migrations (version) VALUES \
         ('1')",
    )
    .await;
    let found = app.open().diesel_versions().await.unwrap();
    assert_eq!(found, ["1".parse().unwrap()]);
    let runs = on(app.open(), TWO).baseline(&Baseline::Diesel).await.unwrap();
    assert_eq!((versions(&runs), runs[0].outcome), (vec!["1"], Outcome::Adopted));
    assert_eq!(versions(&up(app, TWO).await.unwrap()), ["2", "3"]);
    assert_eq!(states(app, TWO).await, ["1 applied", "2 applied", "3 applied"]);
    // Its file is watched from then on.
    let changed: Files<'_> = &[("1_a/up.sql", "CREATE TABLE a (id BIGINT)"), TWO[1], TWO[2]];
    assert_eq!(states(app, changed).await[0], "1 changed");
}

/// Whatever an application's migrations say.
pub async fn anteroom_own_tables_are_out_of_reach(app: &dyn TestApplication) {
    app.execute(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP); INSERT INTO \
         __diesel_schema_migrations (version) VALUES ('20261120000001')",
    )
    .await;
    let database = app.open();
    let way_out = match database.dialect() {
        Dialect::Postgres => "search_path",
        Dialect::Sqlite => "a file of its own",
    };
    let refused = [
        up(app, TWO).await.unwrap_err(),
        MigrateError::Fault(database.past().await.unwrap_err()),
        MigrateError::Fault(database.catalogue().await.unwrap_err()),
    ];
    for error in refused {
        assert!(
            matches!(&error, MigrateError::Fault(MigrationFault::Sql(_))),
            "{error:?}"
        );
        assert!(error.to_string().contains(way_out), "{error}");
    }
}

/// Not even the table of the history.
pub async fn looking_makes_nothing(app: &dyn TestApplication) {
    let database = app.open();
    assert_eq!(database.applied_versions().await.unwrap(), []);
    assert_eq!(states(app, TWO).await, ["1 pending", "2 pending", "3 pending"]);
    assert_eq!(database.recorded_catalogue().await.unwrap(), None);
    assert_eq!(database.estimated_rows("a").await.unwrap(), None);
    assert_eq!(database.diesel_versions().await.unwrap(), []);
    assert!(database.catalogue().await.unwrap().is_empty());
    // It would be refused if one of these were there.
    app.execute("CREATE TABLE __anteroom_app_history (id INTEGER); CREATE TABLE __anteroom_app_versions (id INTEGER)")
        .await;
}
