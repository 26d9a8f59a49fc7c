"""Last stage, the command line: parse, call one function, print; nothing else. One module per command.

Nothing is imported here: a tick passes through on its way to cron_line.py, and must not pay for typer.
"""
