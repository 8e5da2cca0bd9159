from dataclasses import dataclass

import pytest

from common.effects import check_effects, note_idle, without_effect, without_idle
from common.errors import InputError
from common.options import CommonOptions, option


@dataclass(kw_only=True)
class Options(CommonOptions):
    floor: float = option(0.1, "end of the cosine")
    antialias: bool = option(True, "when resizing")
    size: int = option(8, "of the pictures")


ACTS = {"floor": (False, "--decay cosine, or linear"), "antialias": (False, "the resize"), "size": (True, "pictures")}


def test_only_what_was_given_and_does_not_act_has_no_effect():
    assert without_effect(Options(), ACTS) == {}
    assert without_effect(Options(floor=0.2, size=3), ACTS) == {"floor": "--decay cosine, or linear"}


@pytest.mark.parametrize(("given", "line"), [
    ({"floor": 0.2}, "--floor: acts on --decay cosine, or linear, which is not asked for. "
                     "Leave it out, or add --decay cosine."),
    ({"antialias": False}, "--noantialias: acts on the resize, which is not asked for. Leave it out.")])
def test_the_refusal_names_the_flag_as_it_was_written(given, line):
    with pytest.raises(InputError) as error:
        check_effects(Options(**given), ACTS)
    assert line in str(error.value)


def test_a_note_names_all_of_them_and_they_are_set_aside(capsys):
    options = Options(floor=0.2, antialias=False, size=3)
    idle = without_effect(options, ACTS)
    note_idle(idle)
    assert "without effect here: --floor (acts on --decay cosine, or linear), --antialias (acts on the resize)" \
        in " ".join(capsys.readouterr().err.split())
    assert without_idle(options, idle) == Options(size=3)
