CREATE INDEX CONCURRENTLY event_2019_payload ON event_2019 USING gin ((payload -> 'ids') jsonb_path_ops);
REINDEX INDEX CONCURRENTLY event_2019_payload;
VACUUM (ANALYZE, VERBOSE false) event_2019;
ANALYZE members_member (email), room;
CLUSTER members_member USING members_member_pkey;
