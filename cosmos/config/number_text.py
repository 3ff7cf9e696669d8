"""Numbers as text for people: as short as they can be, and 0 for nothing but 0. Programs get all digits."""

MAX_WHOLE = 1e15
"""Size below which a float without a fraction is shown as a whole number."""


def format_number(value: float) -> str:
    """Return a number: whole from 1000 on, or else with four significant digits."""
    if float(value).is_integer() and abs(value) < MAX_WHOLE:
        return str(int(value))
    return f"{value:.0f}" if 1000 <= abs(value) < MAX_WHOLE else f"{value:.4g}"


def format_share(share: float) -> str:
    """Return a share in percent with a decimal, or with as many as it needs to be more than 0."""
    text = f"{share:.1%}"
    return text if float(text.removesuffix("%")) or not share else f"{100 * share:.1g}%"


def format_duration(seconds: float) -> str:
    """Return a time to read: 42 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes % 60):02} min"
    return f"{int(hours // 24)} d {int(hours % 24)} h"


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
