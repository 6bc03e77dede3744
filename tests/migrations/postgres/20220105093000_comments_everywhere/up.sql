--; DROP TABLE room;
--
---- "a dashed rule" ----------------------------------------------------------- ' ------
/**/ /***/ /* * / */ /*/ not closed by that; /* nor; */ '/' by this */
CREATE /* what? */ TABLE -- which?
  /* "this;" */ door /* one */ ( -- (
    id /* ) */ integer /* ; */ PRIMARY KEY, -- no ' quote; ends here
    /* code text, -- old; */
    code text DEFAULT '-- no comment; /* nor this */' /* $$ */
  -- )
  ) /* ; */ ; -- $tag$
/* $$ */ INSERT INTO door VALUES (1/*;*/,'/*'),(2--;
,'*/'), (3, $$--$$) -- $$ ; $$
;
UPDATE door SET id=id- -10 WHERE id>-1*/* times */-1; /* the last one; */ -- without a newline;