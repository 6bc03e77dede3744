-- Licence: MIT; see "LICENSE" -- it's short
/* SQLite's comments do not nest: /* so this is the end */
CREATE/**/TABLE/* a */note/* b; */(-- c;
  id /* ' */ INTEGER PRIMARY KEY, -- "
  body TEXT /* [ */ DEFAULT '/* none */ -- none;' -- `
  /*, old TEXT; */
) /* ; */ ; -- ;
/**/;/* ; */--;
INSERT INTO note (body) VALUES ('--;') /* ; */, ('*/')--;
;
UPDATE note SET body=body||'/*'/* and */WHERE id>-1--;
; /* never closed; that is fine by SQLite: '