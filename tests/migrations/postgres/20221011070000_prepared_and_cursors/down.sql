DELETE FROM stock WHERE item SIMILAR TO 'prepared; (once|twice)';
