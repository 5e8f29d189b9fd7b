"""How counts and times read, the same in messages, tables and files."""

IRREGULAR = {"class": "classes", "process": "processes"}


def integer(value: int) -> str:
    """Thousands apart by a narrow no-break space, from five digits on."""
    return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)


def plural(count: int, noun: str) -> str:
    """``1 trial``, ``2 trials``, ``0 classes``."""
    return f"{integer(count)} {noun_of(count, noun)}"


def noun_of(count: float, noun: str) -> str:
    """``test image`` of one, ``test images`` of any other count."""
    before, space, last = noun.rpartition(" ")
    return noun if count == 1 else f"{before}{space}{IRREGULAR.get(last, f'{last}s')}"


def duration(seconds: float) -> str:
    """Two units at most: ``3 h 12 min``, ``4 min 5 s``, ``41 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return _two(whole // 60, "min", whole % 60, "s")
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else _two(minutes // 60, "h", minutes % 60, "min")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
