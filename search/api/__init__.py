"""What a program may call: search, evaluate, report, export, predict. Nothing here prints or exits."""
