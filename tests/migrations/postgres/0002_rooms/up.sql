-- Rooms; what they cost; and who may enter them.
CREATE TABLE room (
    id      integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    site_id bigint NOT NULL REFERENCES members_site (id) ON DELETE CASCADE,
    name    text   NOT NULL,
    note    text   NOT NULL DEFAULT 'It''s small; mind the step.'
);

/* Not unique over all sites:
   two of them may have a "Blue Room". */
CREATE UNIQUE INDEX room_site_name_key ON room (site_id, lower(name));

COMMENT ON TABLE room IS 'A room that can be booked; see "booking".';
COMMENT ON COLUMN room.note IS 'Shown on the door;
over several lines if need be';
