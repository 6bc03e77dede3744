CREATE TABLE feature_log (name text, was boolean, at timestamptz DEFAULT now());

CREATE RULE feature_changes AS ON UPDATE TO feature
    WHERE old.enabled IS DISTINCT FROM new.enabled
    DO ALSO (
        INSERT INTO feature_log (name, was) VALUES (old.name, old.enabled);
        DELETE FROM feature_log WHERE at < now() - interval '1 year';;
        UPDATE feature_log SET at = now() WHERE name = new.name AND at IS NULL
    );
CREATE OR REPLACE RULE features_stay AS ON DELETE TO feature DO INSTEAD NOTHING;
CREATE RULE features_are_told AS ON INSERT TO feature DO ALSO (NOTIFY feature_added, 'a; b';);
