-- This file should undo anything in `up.sql`
DROP TABLE IF EXISTS `task_tags`;
DROP TABLE IF EXISTS `tags`;
