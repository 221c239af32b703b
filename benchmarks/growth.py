"""A drawing of how something grows: curves over sizes, both axes logarithmic, as SVG."""

from __future__ import annotations

from math import log10

_COLOURS = ("#3f7fd9", "#e08a3c", "#2f9e8f", "#b0413e", "#7a5cc0", "#5d6879", "#a08a2c", "#20794e")
_MARKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


def draw(
    curves: dict[str, dict[int, float]],
    path: str,
    *,
    goal: float,
    goal_text: str,
    unit: str,
    axis: str,
    least: float,
) -> None:
    """Draw values in *unit* over sizes, with a line at *goal*; what is less than *least* is drawn there."""
    sizes = sorted({size for curve in curves.values() for size in curve})
    most = max(max(curve.values()) for curve in curves.values())
    low, high = log10(least), log10(max(most, goal)) + 0.1
    left, right = log10(sizes[0]), log10(sizes[-1])

    def point(size: int, value: float) -> tuple[float, float]:
        across = (log10(size) - left) / max(right - left, 1e-9)
        return 70 + across * 480, 380 - (log10(max(value, least)) - low) / (high - low) * 350

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 430" font-family="sans-serif">',
        '<style>text { font-size: 13px }</style><rect width="760" height="430" fill="#fff"/>',
    ]
    for value in _MARKS:
        if least <= value <= most * 1.2:
            y = point(sizes[0], value)[1]
            parts.append(f'<path d="M70 {y:.1f}H550" stroke="#dfe3ea"/>')
            parts.append(f'<text x="62" y="{y + 4:.1f}" text-anchor="end">{value:g} {unit}</text>')
    parts.extend(
        f'<text x="{point(size, goal)[0]:.1f}" y="402" text-anchor="middle">{size}</text>' for size in sizes
    )
    y = point(sizes[0], goal)[1]
    parts.append(f'<path d="M70 {y:.1f}H550" stroke="#1c2430" stroke-dasharray="5 4"/>')
    parts.append(f'<text x="310" y="424" text-anchor="middle">{axis}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dots = [point(size, curve[size]) for size in sizes]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots)
        parts.append(f'<text x="566" y="{60 + 24 * number}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="566" y="36">- - {goal_text}: {goal:g} {unit}</text></svg>\n')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
