"""What all pictures have in common."""

from __future__ import annotations

from bloodsearch.search.report import style


def test_a_note_that_lies_over_an_earlier_one_goes() -> None:
    with style.styled():
        figure, axes = style.one("three notes, two of them at one place")
        for text, place in (("first", (0.5, 0.5)), ("over it", (0.51, 0.5)), ("apart", (0.1, 0.9))):
            axes.annotate(text, place)
        style.thin_out(figure)
    assert [note.get_text() for note in axes.texts] == ["first", "apart"]
