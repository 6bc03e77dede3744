DROP TRIGGER task_search_au;
DROP TRIGGER task_search_ad;
DROP TRIGGER task_search_ai;
DROP TABLE task_search;
