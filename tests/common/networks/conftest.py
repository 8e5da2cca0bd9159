"""The filled weights of the golden case inception_fid, made once for the tests here."""

from pathlib import Path

import pytest

from tests.golden.registry import Case


@pytest.fixture(scope="session")
def case():
    return Case(Path(__file__).parents[2] / "golden" / "metrics" / "inception_fid")


@pytest.fixture(scope="session")
def state(case):
    return case.state_dict()
