drop table if exists day
