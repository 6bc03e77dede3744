PRAGMA main.user_version = 7;
PRAGMA journal_mode=DELETE;
REINDEX task;
ANALYZE main;
VACUUM;
PRAGMA optimize;
