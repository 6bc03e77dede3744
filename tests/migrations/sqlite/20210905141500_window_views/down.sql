DROP VIEW main.task_rank;
