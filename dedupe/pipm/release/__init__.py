"""`pipm release`: give environments their own copies again."""
