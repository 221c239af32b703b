"""`pipm run` and `pipm.activate`: programs without an environment of their own."""
