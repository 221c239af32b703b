"""The command line: the arguments, words and exit codes of every command."""
