;;;DROP TABLE feature;;;
