"""The command line: commands, the live table, what is printed."""
