DROP VIEW open_task;
DELETE FROM task WHERE title = 'Buy milk; and bread';
DELETE FROM list WHERE name = 'inbox;';
