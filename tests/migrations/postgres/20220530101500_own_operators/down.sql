DROP COLLATION halle_numeric;
DROP CAST (weekday AS integer);
DROP AGGREGATE any_true(boolean);
DROP AGGREGATE join_all(text);
DROP FUNCTION joined;
DROP OPERATOR !== (text, text), === (text, text);
DROP FUNCTION far, near;
