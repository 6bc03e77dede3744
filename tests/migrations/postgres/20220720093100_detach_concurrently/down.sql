ALTER TABLE reading_archive RENAME TO reading_x;
ALTER TABLE reading ATTACH PARTITION reading_x FOR VALUES IN ('x');
