DROP TABLE [order; list]
