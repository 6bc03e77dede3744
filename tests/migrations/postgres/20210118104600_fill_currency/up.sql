-- One range of rooms after the other
UPDATE price
   SET currency = 'CHF'
 WHERE room_id BETWEEN :first AND :last
   AND currency IS NULL;
