ALTER TABLE reading DETACH PARTITION reading_x CONCURRENTLY;
ALTER TABLE reading_x RENAME TO reading_archive;
