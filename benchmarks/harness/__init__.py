"""The harness all benchmarks share: what is measured (benchmark), on what (shapes, machine), by whom (providers), how
(work, timing, memory), and what is told (report, plot). `command` makes the command line of it."""
