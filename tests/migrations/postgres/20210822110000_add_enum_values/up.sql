ALTER TYPE weekday ADD VALUE IF NOT EXISTS 'any; day' BEFORE 'mo';
ALTER TYPE weekday RENAME VALUE 'mo' TO 'mon';
ALTER TYPE weekday RENAME VALUE 'tu' TO 'tue';
