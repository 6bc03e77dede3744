DROP RULE features_are_told ON feature; DROP RULE features_stay ON feature; DROP RULE feature_changes ON feature; DROP TABLE feature_log;
