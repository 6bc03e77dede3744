DROP INDEX room_site_name_key;
DROP TABLE room;
