"""What the parts of a simulation took is added up over kills."""

import pytest

from tessera.platform.simulate.took import timed, took


def test_seconds_add_up_and_what_was_cut_off_does_not_count(place):
    assert took(place) == {}
    place.played.mkdir(parents=True)
    (place.played / "took.jsonl").write_text('["watch", 2.5]\n["visits", 1.0]\n')
    with timed(place, "watch"):
        pass
    with pytest.raises(KeyError), timed(place, "runs"):
        raise KeyError
    with (place.played / "took.jsonl").open("a") as file:
        file.write('["visits", 1')
    assert took(place) == {"watch": 2.5, "visits": 1.0}
