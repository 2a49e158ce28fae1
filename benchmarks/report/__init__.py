"""How the results of each benchmark are told: one section of docs/benchmarks.md each."""
