-- Equality in GiST would need btree_gist; a range of one room does without.
ALTER TABLE "Booking"
  ADD CONSTRAINT no_double_booking EXCLUDE USING gist (
    int4range("roomId", "roomId", '[]') WITH &&,
    during WITH &&
  ) WHERE (state <> 'CANCELLED; REFUNDED'),
  ADD CONSTRAINT ends_after_it_begins CHECK (NOT isempty(during) AND upper(during) - lower(during) <= interval '30 days');
