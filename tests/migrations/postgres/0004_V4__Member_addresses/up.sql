/* ---------------------------------------------------------------------------------------------
 * Copyright (c) 2019 The Halle Contributors; all rights reserved.
 *
 * Licensed under the Terms; you may not use this file except in compliance with 'the Terms'.
 * Unless required by applicable law /* or agreed to in writing; */ it comes "AS IS".
 * ------------------------------------------------------------------------------------------- */
CREATE TYPE POSTAL_ADDRESS AS (
    STREET   TEXT,
    POSTCODE VARCHAR(12),
    CITY     TEXT,
    COUNTRY  CHAR(2)
);

CREATE DOMAIN EMAIL AS VARCHAR(254)
    CONSTRAINT EMAIL_LOOKS_RIGHT CHECK (VALUE ~* '^[^@; ]+@[^@; ]+$');

ALTER TABLE MEMBERS_MEMBER
    ADD COLUMN ADDRESS POSTAL_ADDRESS,
    ADD COLUMN INVOICE_EMAIL EMAIL;

INSERT INTO MEMBERS_MEMBER (EMAIL, FULL_NAME, IS_ACTIVE, DATE_JOINED, ADDRESS)
VALUES ('first@example.org', 'The First', TRUE, TIMESTAMPTZ '2019-01-31 08:00:00+01', ROW('Gasse 1; 2nd floor', '3000', 'Bern', 'CH'));

UPDATE MEMBERS_MEMBER SET ADDRESS.CITY = 'Biel/Bienne', ADDRESS.POSTCODE = '2500' WHERE (ADDRESS).CITY = 'Bern'
-- that was all; no semicolon and no newline at the end