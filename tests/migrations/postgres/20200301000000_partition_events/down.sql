ALTER TABLE event DETACH PARTITION event_other;
DROP TABLE event_other, event;
