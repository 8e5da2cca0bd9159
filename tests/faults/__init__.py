"""Long tests: kill every long job at many moments, and run it in several processes. `make faults` runs them."""
