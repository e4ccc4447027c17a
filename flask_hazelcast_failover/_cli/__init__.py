"""``flask hazelcast``: the commands for operators and cron jobs."""
