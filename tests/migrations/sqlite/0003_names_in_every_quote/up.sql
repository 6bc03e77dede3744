CREATE TABLE [order; list] (
    [id] INTEGER PRIMARY KEY AUTOINCREMENT,
    `a ``tick``; b` TEXT,
    "a ""quote""; c" TEXT,
    'single; d' TEXT,
    [with "all" `of' them] BLOB DEFAULT X'3B',
    größe REAL DEFAULT .5e-3,
    日本 TEXT DEFAULT 'it''s; \'
);
CREATE INDEX [order; index] ON [order; list] (`a ``tick``; b` COLLATE NOCASE DESC, "größe");
INSERT INTO [order; list] (`a ``tick``; b`, "a ""quote""; c") VALUES ('E', 'x');
SELECT [id], "id", `id`, id FROM [order; list] WHERE `größe`>=-1 AND [id]!=-5;
