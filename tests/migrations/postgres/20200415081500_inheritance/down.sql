drop table projector;
drop table whiteboard;
drop table asset
