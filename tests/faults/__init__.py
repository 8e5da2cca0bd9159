"""Long tests: kill every long job at many moments, and run it in several processes. `make faults` runs them."""

import pytest

pytest.register_assert_rewrite("tests.faults.jobs")  # so that a failure shows the values
