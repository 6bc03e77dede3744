DROP TABLE "text_sample"; -- it's gone;
/* so is; 'all /* of */ it' */
