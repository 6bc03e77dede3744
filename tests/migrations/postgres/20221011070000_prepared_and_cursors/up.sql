LOCK TABLE stock IN SHARE ROW EXCLUSIVE MODE NOWAIT;
PREPARE put_stock (text, integer) AS INSERT INTO stock VALUES ($1, abs($2)) ON CONFLICT DO NOTHING;
EXECUTE put_stock('prepared; once', 1);
EXECUTE put_stock('prepared; twice', -2);
DEALLOCATE PREPARE put_stock;
DECLARE all_stock NO SCROLL CURSOR WITHOUT HOLD FOR SELECT item AS end FROM stock FOR UPDATE;
FETCH FORWARD 2 FROM all_stock;
UPDATE stock SET left_over = 0 WHERE CURRENT OF all_stock;
CLOSE all_stock;
