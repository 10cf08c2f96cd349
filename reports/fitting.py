"""Text in so many terminal cells: names may be wide, long or hostile."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

ELLIPSIS = "\u2026"


def fitted(text: str, width: int, right: bool = False) -> str:
    """One line, padded to `width` cells or cut with an ellipsis.

    >>> fitted("torch_ddp", 6), fitted("1", 3, right=True)
    ('torch…', '  1')
    """
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1).rstrip()}{ELLIPSIS}"
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def shortened(text: str, width: int) -> str:
    """Cut in the middle where it is too long: what tells two names apart is often at their ends.

    >>> shortened("torch_ddp (compute bfloat16, wire float32)", 20)
    'torch_ddp…e float32)'
    """
    if cell_len(text) <= width:
        return text
    end = text[-(width // 2) :]
    while cell_len(end) > width // 2:
        end = end[1:]
    return f"{set_cell_size(text, width - 1 - cell_len(end)).rstrip()}{ELLIPSIS}{end}"
