DROP TABLE note -- a comment at the end; without a newline after its statement
/* and one more; unclosed
