"""Programs that measure pipm against its peers; `benchmarks/README.md` says how to run them."""
