"""Where a stream that breaks ends."""

from __future__ import annotations

import pytest

from agentdyno.providers.reply import Break
from agentdyno.providers.scripted_wire import Frame
from agentdyno.providers.sending import frames_before

HEAD, ONE, BETWEEN, FOUR, TAIL = Frame(b"h"), Frame(b"1", 1), Frame(b"b"), Frame(b"4", 4), Frame(b"t", trailer=True)
FRAMES = [HEAD, ONE, BETWEEN, FOUR, TAIL]


@pytest.mark.parametrize(
    ("after_pieces", "frames"),
    [
        (0, [HEAD]),
        (1, [HEAD, ONE, BETWEEN]),
        (3, [HEAD, ONE, BETWEEN]),  # the frame with four goes whole or not at all
        (5, [HEAD, ONE, BETWEEN, FOUR]),
        (9, [HEAD, ONE, BETWEEN, FOUR]),
    ],
)
def test_a_stream_breaks_before_the_next_piece_and_before_its_end(after_pieces: int, frames: list[Frame]) -> None:
    assert frames_before(FRAMES, Break(after_pieces, None)) == frames


def test_a_stream_without_pieces_breaks_after_its_first_frame() -> None:
    assert frames_before([HEAD, TAIL], Break(0, None)) == [HEAD]
