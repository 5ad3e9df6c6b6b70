"""How long a run may take at most."""

from __future__ import annotations

import pytest

from agentdyno.runner.forecast import longest_s


@pytest.mark.parametrize(
    ("timeboxes_s", "jobs", "expected_s"),
    [
        ([1.0, 2.0, 3.0], 1, 6.0),
        ([1.0, 1.0, 10.0], 2, 11.0),  # the long one waits for a job, and is not divided among them
        ([10.0, 1.0, 1.0], 2, 10.0),
        ([4.0], 8, 4.0),
        ([], 2, 0.0),
    ],
)
def test_cells_are_begun_in_their_order_by_the_first_job_that_is_free(
    timeboxes_s: list[float], jobs: int, expected_s: float
) -> None:
    assert longest_s(timeboxes_s, jobs) == expected_s
