"""The command line, one module a group of commands; nothing heavy is imported before a command runs."""
