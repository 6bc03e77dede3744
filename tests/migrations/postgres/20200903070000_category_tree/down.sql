DROP VIEW category_tree;
DROP TABLE category;
