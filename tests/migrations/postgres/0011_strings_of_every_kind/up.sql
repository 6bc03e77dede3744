CREATE TABLE text_sample (
    "no;semi" integer PRIMARY KEY,
    "a ""quoted"" name" text,
    U&"d\0061t\+000061" text,
    "end" text,
    bits bit(8),
    bytes bytea
);
INSERT INTO text_sample VALUES
    (1, 'it''s; fine', E'it\'s; \\ \n fine', U&'\00e9\+01F600; d!0061' , B'10100101', '\xDEADBEEF'),
    (2, 'C:\dir\', e'tab\t;\'', u&'!00e9;' UESCAPE '!', X'a5', E'\\x3b27'),
    (3, $$;'";$$, $x$ $$;$$ $x$, N'national; text', b'00000000', ''),
    (4, 'first; '
        'second; '
        'third', E'one\';'
        ' two\';' -- still the same string
        ' three', '', B'11110000', NULL);
-- Not a string: 'a', not a name: "b", not the end: ;
UPDATE text_sample SET "end" = '--' || "a ""quoted"" name" || '/*' WHERE "no;semi" = 1 /* ; */;
SELECT "no;semi" end, '*/' FROM text_sample WHERE "end" <> ';';
