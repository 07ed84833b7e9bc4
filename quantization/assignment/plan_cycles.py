"""Plans without cycles: at most K - 1 points are split between K codes."""

from typing import Any

from quantization.arrays import FloatArray


def without_cycles(rows: Any, columns: Any, masses: FloatArray, k: int) -> FloatArray:
    """The masses of a plan with the same marginals whose nonzero entries, as edges between rows and columns, have no cycle.

    Mass goes around each cycle until an entry is zero. Between points that are split at an optimum that costs nothing.
    """
    masses = masses.copy()
    tree: dict[int, dict[int, int]] = {}  # of every node, rows k + i and columns, its neighbours and the entries to them
    for e, (row, column) in enumerate(zip((k + rows).tolist(), columns.tolist(), strict=True)):
        path = _path(tree, column, row)
        if path:
            down, up = path[::2], [*path[1::2], e]  # entries in turn lose and gain, as the new one does
            amount = masses[down].min()
            masses[down] -= amount
            masses[up] += amount
            gone = [f for f in down if masses[f] <= 0]
            masses[gone] = 0.0
            for f in gone:
                i, j = k + int(rows[f]), int(columns[f])
                del tree[i][j], tree[j][i]
        tree.setdefault(row, {})[column] = e
        tree.setdefault(column, {})[row] = e
    return masses


def _path(tree: dict[int, dict[int, int]], start: int, end: int) -> list[int]:
    """The entries along the way between two nodes of a forest; none where there is no way."""
    came, front = {start: (-1, -1)}, [start]
    for node in front:
        for following, entry in tree.get(node, {}).items():
            if following not in came:
                came[following] = node, entry
                front.append(following)
    path: list[int] = []
    while end in came and end != start:
        end, entry = came[end]
        path.append(entry)
    return path
