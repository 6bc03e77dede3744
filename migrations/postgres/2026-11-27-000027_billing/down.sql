DROP TABLE overages;
