"""When a trial is stopped early, and the audit of those decisions."""
