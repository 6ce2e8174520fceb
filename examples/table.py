"""Tables for people."""


def render(head, rows):
    """Columns as wide as their widest cell; the first one left-aligned, the others right."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        first, rest = row[0].ljust(widths[0]), [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def percent(share):
    """A share of 1 in percent; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"
