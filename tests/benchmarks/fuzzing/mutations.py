"""Changes of inputs: of bytes, of tables, of trees and of archives."""

import copy
import csv
import io
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from xml.etree import ElementTree

Rows = list[list[str]]

ODD_TEXTS = (
    *("", " ", "nan", "NaN", "null", "-", "inf", "-inf", "1e999", "1e-320", "-0", "-1", "0", "255"),
    *("9" * 25, "9" * 400, "0x1F", "1_000", "1,5", "1.188", "1.234,5", "1 234", "1'234", "1.2.3"),
    *("12 km/h", "½", "١٢", "２４", "−5", "1e5", "True", "None", "#N/A", "99999", "1" + "0" * 38),
    *("\0", "\x1b[31mred", "a\nb", "a\r\nb", "\u202eabc", "\ufeff", '"', 'a"b', "a,b", "a;b", "'"),
    *("=1+1", "<script>alert(1)</script>", "](javascript:x)", "../../etc/passwd", "/etc/passwd"),
    *("2024-03-04", "2024-03-04T00:00:00", "2024-03-04 24:00:00", "24:00", "2024-13-01", "now"),
    *("0001-01-01T00:00", "9999-12-31T23:59:59", "2024-03-31T02:30", "2024-10-27T02:30", "2024"),
    *(
        "2024-03-04T00:00:00Z",
        "2024-03-04T00:05:00+08:00",
        "2024-03-04T00:00:00+99:99",
        "04.03.2024",
    ),
    *("1709510400", "1709510400000", "45355.5", "20240304", "1e300", "-9223372036854775808"),
    *(
        "a" * 5000,
        "國道五號",
        "Sörby",
        "e\u0301",
        "😀",
        "VD-0",
        "VD-1.0",
        "1.0",
        "file_name",
        "time",
    ),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "big5", "utf-32", "utf-7")

_NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**9)
_TOKENS = (
    b"\0",
    b"\xff",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"<",
    b"&",
    b"\xef\xbb\xbf",
    b"nan",
    b"-",
)


# --- bytes ----------------------------------------------------------------------------------------


def _part(size: int, random: Random, most: int) -> slice:
    start = random.randrange(size + 1)
    return slice(start, start + random.randint(1, most))


def _flip(content: bytearray, random: Random) -> None:
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _overwrite(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content))
    form = random.choice(("<I", "<Q", "<H", ">I", "<B"))
    size = struct.calcsize(form)
    number = random.choice((*_NUMBERS, random.getrandbits(64))) % 2 ** (8 * size)
    content[at : at + size] = struct.pack(form, number)


def _insert(content: bytearray, random: Random) -> None:
    at = random.randrange(len(content) + 1)
    content[at:at] = random.choice((*_TOKENS, random.randbytes(random.choice((1, 8, 300)))))


def _delete(content: bytearray, random: Random) -> None:
    del content[_part(len(content), random, 40)]


def _repeat(content: bytearray, random: Random) -> None:
    part = content[_part(len(content), random, 200)]
    at = random.randrange(len(content) + 1)
    content[at:at] = part * random.choice((1, 1, 2, 50))


def _swap(content: bytearray, random: Random) -> None:
    one, other = sorted(random.randrange(len(content) + 1) for _ in range(2))
    middle = content[one:other]
    half = len(middle) // 2
    content[one:other] = middle[half:] + middle[:half]


def _truncate(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content)) :]


def _blank(content: bytearray, random: Random) -> None:
    part = _part(len(content), random, 64)
    content[part] = bytes(len(content[part]))


_OF_BYTES = (
    _flip,
    _flip,
    _overwrite,
    _overwrite,
    _insert,
    _delete,
    _repeat,
    _swap,
    _truncate,
    _blank,
)


def bytes_changed(content: bytes, random: Random) -> bytes:
    """A few changes anywhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8, 30))):
        if changed:
            random.choice(_OF_BYTES)(changed, random)
    return bytes(changed)


def damaged(content: bytes, random: Random, share: float) -> bytes:
    """The content, of such a share of the inputs changed."""
    return bytes_changed(content, random) if random.random() < share else content


# --- tables ---------------------------------------------------------------------------------------


def table_changed(rows: Rows, random: Random) -> Rows:
    """A few changes of a table, whose first row names the columns."""
    rows = [[*row] for row in rows]
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        if any(rows):
            random.choice(_OF_TABLES)(rows, random)
    return rows


def _some_row(rows: Rows, random: Random) -> list[str]:
    return random.choice([row for row in rows if row])


def _odd_cell(rows: Rows, random: Random) -> None:
    row = _some_row(rows, random)
    row[random.randrange(len(row))] = random.choice(ODD_TEXTS)


def _odd_column(rows: Rows, random: Random) -> None:
    place = random.randrange(len(_some_row(rows, random)))
    text, share = random.choice(ODD_TEXTS), random.choice((0.1, 0.5, 1))
    for row in rows[1:]:
        if place < len(row) and random.random() < share:
            row[place] = text


def _number_style(rows: Rows, random: Random) -> None:
    place = random.randrange(len(_some_row(rows, random)))
    style: Callable[[str], str] = random.choice(
        (
            lambda text: text.replace(".", ","),
            lambda text: f"1.{text[:3]:0<3}",
            lambda text: f"1,{text[:3]:0<3}.5",
            lambda text: f"{text} ",
            lambda text: f"{text} km/h",
            lambda text: f"{text}e0",
            lambda text: f"+{text}",
        )
    )
    share = random.choice((0.1, 0.5, 1))
    for row in rows[1:]:
        if place < len(row) and random.random() < share:
            row[place] = style(row[place])


def _repeat_row(rows: Rows, random: Random) -> None:
    for _ in range(random.choice((1, 1, 5))):
        rows.insert(random.randrange(len(rows) + 1), [*_some_row(rows, random)])


def _delete_row(rows: Rows, random: Random) -> None:
    del rows[random.randrange(len(rows))]


def _shuffle(rows: Rows, random: Random) -> None:
    rows[1:] = random.sample(rows[1:], len(rows) - 1)


def _delete_column(rows: Rows, random: Random) -> None:
    place = random.randrange(len(_some_row(rows, random)))
    for row in rows:
        del row[place : place + 1]


def _swap_columns(rows: Rows, random: Random) -> None:
    one, other = (random.randrange(len(_some_row(rows, random))) for _ in range(2))
    for row in rows:
        if max(one, other) < len(row):
            row[one], row[other] = row[other], row[one]


def _widen_row(rows: Rows, random: Random) -> None:
    _some_row(rows, random).extend([random.choice(("", "1", "x"))] * random.choice((1, 3)))


def _shorten_row(rows: Rows, random: Random) -> None:
    row = _some_row(rows, random)
    del row[random.randrange(len(row)) :]


def _trailing(rows: Rows, _: Random) -> None:
    for row in rows:
        row.append("")


def _other_row(rows: Rows, random: Random) -> None:
    """Lines before the names, a row of units, a comment, an empty line."""
    row = random.choice((["Export of 2024"], ["", "", "km/h"], ["# x", "y"], [], ["---"] * 5))
    rows.insert(random.choice((0, 0, 1, random.randrange(len(rows) + 1))), row)


def _odd_name(rows: Rows, random: Random) -> None:
    row = rows[0]
    if row:
        row[random.randrange(len(row))] = random.choice((*ODD_TEXTS, *row))


_OF_TABLES = (
    *(_odd_cell, _odd_cell, _odd_cell, _odd_column, _number_style, _repeat_row, _delete_row),
    *(_shuffle, _delete_column, _swap_columns, _widen_row, _shorten_row, _trailing, _other_row),
    *(_odd_name,),
)


def as_csv(rows: Rows, random: Random, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    """The table as text, now and then in another form."""
    text = io.StringIO()
    if random.random() < 0.05:
        delimiter = random.choice(";\t|,")
    ends = random.choice(("\n", "\n", "\n", "\r\n", "\r"))
    quoting: Any = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=quoting).writerows(rows)
    if random.random() < 0.1:
        encoding = random.choice(ENCODINGS)
    return text.getvalue().encode(encoding, errors="replace")


# --- trees ----------------------------------------------------------------------------------------


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Parents and keys of all nodes."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def tree_changed(root: Any, random: Random, odd: Callable[[Random], Any]) -> Any:
    """A few changes of dicts and lists; ``odd`` gives values that take the place of others."""
    root = copy.deepcopy(root)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        if places := [*_places(root)]:
            parent, key = random.choice(places)
            _change_node(parent, key, random.choice(places), random, odd)
    return root


def _change_node(
    parent: Any, key: Any, elsewhere: tuple[Any, Any], random: Random, odd: Callable[[Random], Any]
) -> None:
    value = parent[key]
    match random.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent[key:key] = [copy.deepcopy(value)] * random.choice((1, 3))
        case 1:
            parent[random.choice([*parent, "x"])] = copy.deepcopy(value)
        case 2:
            other, place = elsewhere
            if place in other if isinstance(other, dict) else place < len(other):
                parent[key] = copy.deepcopy(other[place])
        case 3:
            parent[key] = random.choice(([value], {"x": value}, {}, []))
        case 4 if isinstance(parent, dict):
            parent[random.choice((f"{key}x", random.choice(ODD_TEXTS), 7, None))] = parent.pop(key)
        case _:
            parent[key] = odd(random)


def xml_changed(content: bytes, random: Random) -> bytes:
    """A few changes of the elements of a document."""
    root = ElementTree.fromstring(content)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        parent = random.choice([one for one in root.iter() if len(one)] or [root])
        if not len(parent):
            break
        place = random.randrange(len(parent))
        child = parent[place]
        match random.randrange(7):
            case 0:
                parent.remove(child)
            case 1:
                parent.insert(random.randrange(len(parent) + 1), copy.deepcopy(child))
            case 2:
                child.tag += "x"
            case 3:
                child.set("a", random.choice(ODD_TEXTS))
            case _:
                leaves = [one for one in root.iter() if not len(one)]
                random.choice(leaves).text = random.choice(ODD_TEXTS)
    text = ElementTree.tostring(root, encoding="unicode", default_namespace=None)
    return text.encode(errors="replace")
