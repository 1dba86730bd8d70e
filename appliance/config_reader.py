"""Reads TOML into frozen values, and tells all faults of a file at once. Pure.

It knows no key by name. A section with a `SHORT` may be written as the value of that one of its
keys. What a key accepts stands in its type, and what is said of a wrong value
is made from that type; what no type can say is a `rule` beside it. Each key is judged by itself,
so that no fault hides another. A faulty key has its default, and whoever compares keys asks first
whether they are sound.

What looks like a secret is told without its value, and so are whole tables, where a key of the
owner's may lie.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert, inspect
from msgspec.structs import fields

SHOWN_CHARACTERS = 60  # of a wrong value: enough to find it
DEPTH_LIMIT = 32  # tables in tables; `a.b.c…` nests as deep as a line is long
LIKENESS = 0.8  # of a slip of the finger to the name that was meant
SECRET_WORDS = ("key", "secret", "token", "passw", "credential", "auth", "header")
HIDDEN_WORDS = (*SECRET_WORDS, "command")  # the words of a command may be secrets too
UNITS = {
    "_bytes": " of bytes",
    "_days": " of days",
    "_hz": " of Hz",
    "_mb": " of megabytes",
    "_ms": " of milliseconds",
    "_s": " of seconds",
}
MISSING: Final = object()  # in place of the value of a key that is not there
HIDDEN: Final = object()  # in place of one that is not shown

Check = Callable[[Any], str]
Table = dict[str, Any]


def rule(check: Check | None = None, *, wanted: str = "") -> Meta:
    """What a type cannot say of a key, for its `Annotated`.

    Args:
        check: answers what was wanted in place of a value that has the type, or "".
        wanted: what to say of a value that has not, where the words for its type are no help.
    """
    return Meta(extra={"check": check, "wanted": wanted})


def keys(kind: type[Struct], section: str = "") -> dict[str, frozenset[str]]:
    """Every key that there is, by its section."""
    inner: dict[str, frozenset[str]] = {}
    plain = []
    for known in fields(kind):
        if (part := _part(known.type)) is None:
            plain.append(known.name)
        else:
            inner |= keys(part, f"{section}.{known.name}" if section else known.name)
    return {section: frozenset(plain), **inner} if plain else inner


class Reader:
    """One reading of one file: collects its faults.

    Places are written as their owner would: "" is the top, "[talk]" a section, "[[tools]] 2" the
    second of a list. Paths are for ourselves: "talk.mode", "tools.2.name".
    """

    def __init__(
        self, source: str, whole: type[Struct], *, secrets: str, elsewhere: Mapping[str, str]
    ) -> None:
        """A reading of `source` as a `whole`.

        Args:
            source: what faults call the file.
            whole: what it says.
            secrets: where a secret goes that was put among the settings.
            elsewhere: where other names go that are no keys.
        """
        self.faults: list[str] = []
        self._source = source
        self._whole = whole
        self._secrets = secrets
        self._elsewhere = elsewhere
        self._keys = keys(whole)
        self._unsound: set[str] = set()
        self._given: Table = {}

    def read(self, text: str, beneath: Callable[[Table], Table] = lambda _given: {}) -> Any:
        """What `text` says, as the whole; `beneath` answers what lies under the keys given."""
        self._given = self._document(text)
        return self._section(self._whole, _laid_on(self._given, beneath(self._given)), "", "")

    def gave(self, path: str) -> bool:
        """Whether the owner gave this key, sound or not."""
        inner: object = self._given
        for name in path.split("."):
            if not isinstance(inner, dict) or name not in inner:
                return False
            inner = inner[name]
        return True

    def is_sound(self, *paths: str) -> bool:
        """Whether none of these keys, no section around them and nothing in them has a fault."""
        return not any(
            f"{path}.".startswith(f"{bad}.") or bad.startswith(f"{path}.")
            for path in paths
            for bad in self._unsound
        )

    def tell(self, at: str, name: str, value: object, words: str) -> None:
        """A fault of the key `name` at a place. Its value may be MISSING."""
        place = f"{at} " if at else ""
        if value is MISSING:
            self.faults.append(f"{self._source}: {place}{_bare(name)}: missing; {words}")
        else:
            said = shown(value, name)
            self.faults.append(f"{self._source}: {place}{_bare(name)} = {said}: {words}")

    def _document(self, text: str) -> Table:
        try:
            given = tomllib.loads(text)
        except RecursionError:
            self.faults.append(f"{self._source}: nested too deep; wanted sections with keys")
        except ValueError as error:  # TOMLDecodeError is one, and numbers without end are others
            self.faults.append(f"{self._source}: {error}; wanted TOML")
        else:
            if not _is_too_deep(given):
                return given
            self.faults.append(f"{self._source}: nested too deep; wanted sections with keys")
        return {}

    def _section(self, kind: type[Struct], given: Table, at: str, path: str) -> Any:
        """A `kind` made of the sound keys of `given`; None if it cannot do without another."""
        known = {known.name: known for known in fields(kind)}
        sound = {}
        for name, value in given.items():
            inner = f"{path}.{name}" if path else name
            if name not in known:
                self._tell_unknown(at, name, value, known)
                continue
            made = self._value(at, inner, known[name].type, value)
            if made is not MISSING:
                sound[name] = made
        for name, field in known.items():
            if field.required and name not in given:
                self._unsound.add(f"{path}.{name}")
                self.tell(at, name, MISSING, _judge(name, field.type, MISSING)[0])
        is_whole = all(name in sound for name, field in known.items() if field.required)
        return kind(**sound) if is_whole else None

    def _value(self, at: str, path: str, kind: Any, value: object) -> Any:
        """What the settings keep of `value`; MISSING if it is no `kind`."""
        name = path.rpartition(".")[2]
        part = _part(kind)
        if part is None:
            fault, judged = _judge(name, kind, value)
        elif get_origin(kind) is tuple:
            if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
                return self._entries(part, value, path)
            fault, judged = f"wanted a section [[{path}]] for each", None
        else:
            if isinstance(value, dict):
                return self._section(part, value, f"[{path}]", path)
            short = getattr(part, "SHORT", "")
            if short:
                kind = next(known.type for known in fields(part) if known.name == short)
                fault, judged = _judge(name, kind, value)
                judged = None if fault else part(**{short: judged})
            else:
                fault, judged = f"wanted a section [{path}]", None
        if not fault:
            return judged
        self._unsound.add(path)
        self.tell(at, name, value, fault)
        return MISSING

    def _entries(self, kind: type[Struct], given: list[Table], path: str) -> Any:
        """Those of a list that are sound. They are told apart by their names."""
        made, first_of = [], dict[str, int]()
        for number, entry in enumerate(given, 1):
            at, inner = f"[[{path}]] {number}", f"{path}.{number}"
            made.append(self._section(kind, entry, at, inner))
            name = entry.get("name")
            if isinstance(name, str) and self.is_sound(f"{inner}.name"):
                first = first_of.setdefault(name, number)
                if first != number:
                    self._unsound.add(f"{inner}.name")
                    self.tell(at, "name", name, f"[[{path}]] {first} has it; wanted another")
        return tuple(entry for entry in made if entry is not None)

    def _tell_unknown(self, at: str, name: str, value: object, known: Iterable[str]) -> None:
        nearest, *_ = difflib.get_close_matches(name, known, n=1, cutoff=0)
        is_slip = bool(difflib.get_close_matches(name, known, n=1, cutoff=LIKENESS))
        if not at:
            nearest = self._bracketed(nearest)
            if isinstance(value, dict | list):
                found = f"[[{_bare(name)}]]" if isinstance(value, list) else f"[{_bare(name)}]"
                self.faults.append(
                    f"{self._source}: {found}: no such section; the nearest is {nearest}"
                )
                return
        home = [section for section, names in self._keys.items() if name in names]
        if at and name in {section.partition(".")[0] for section in self._keys}:
            words = f"{self._bracketed(name)} stands by itself"
        elif name in self._elsewhere:
            words = self._elsewhere[name]
        elif home:
            words = f"it belongs in {self._bracketed(home[0])}"
        elif is_slip or not _has_word(name, SECRET_WORDS):
            words = f"the nearest is {nearest}"
        else:
            place = f"{at} " if at else ""
            self.faults.append(
                f"{self._source}: {place}{_bare(name)}: no such key; "
                f"secrets are not settings: {self._secrets}"
            )
            return
        is_hidden = isinstance(value, list) or (is_slip and _has_word(nearest, HIDDEN_WORDS))
        self.tell(at, name, HIDDEN if is_hidden else value, f"no such key; {words}")

    def _bracketed(self, section: str) -> str:
        known = {known.name: known.type for known in fields(self._whole)}
        return f"[[{section}]]" if get_origin(known.get(section)) is tuple else f"[{section}]"


def _laid_on(given: Table, beneath: Table) -> Table:
    """`given`, and where it says nothing what lies `beneath` it."""
    both = dict(given)
    for name, value in beneath.items():
        if name not in given:
            both[name] = value
        elif isinstance(value, dict) and isinstance(given[name], dict):
            both[name] = _laid_on(given[name], value)
    return both


def _part(kind: Any) -> type[Struct] | None:
    """What a section is made of, or each of a list of them; None for a plain key."""
    inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return inner if isinstance(inner, type) and issubclass(inner, Struct) else None


def _judge(name: str, kind: Any, value: object) -> tuple[str, Any]:
    """(what was wanted, None), or ("", the value as the settings keep it)."""
    info = inspect.type_info(kind)
    extra: dict[str, Any] = {}
    if isinstance(info, inspect.Metadata):
        extra, info = info.extra or {}, info.type
    try:
        judged = convert(value, kind)
    except ValidationError:
        return f"wanted {extra.get('wanted') or _wanted(name, info)}", None
    check: Check | None = extra.get("check")
    return (check(judged) if check else ""), judged


def _wanted(name: str, info: inspect.Type) -> str:
    """What a type accepts, in words."""
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(shown(value) for value in values)
        case inspect.IntType(ge=low, le=high):
            return f"a whole number{unit} from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number{unit} from {low:g} to {high:g}"
        case inspect.StrType():
            return "text"
        case inspect.VarTupleType(item_type=inspect.StrType(max_length=length)):
            return f"a list of texts of at most {length} characters"
        case inspect.UnionType(types=types) if any(
            isinstance(kind, inspect.ListType) for kind in types
        ):
            return "a table or a list of tables"
        case inspect.UnionType(types=[inner, inspect.NoneType()]):  # None: not given
            return _wanted(name, inner)
        case _:
            return "a table"


def _is_too_deep(table: Table) -> bool:
    layer: list[object] = [table]
    for _ in range(DEPTH_LIMIT):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(layer)


def is_secret(name: str) -> bool:
    """Whether the value of a key, or of anything below it, may be a secret."""
    return _has_word(name, HIDDEN_WORDS)


def _has_word(name: str, words: Iterable[str]) -> bool:
    return any(word in name.lower() for word in words)


def _bare(name: str) -> str:
    """A key as its owner wrote it, on one line."""
    return shown(name)[1:-1] or '""'


def shown(value: object, name: str = "") -> str:
    """A value as its owner wrote it, or nearly: on one line and short, and without secrets.

    Args:
        value: as TOML has it.
        name: its key, with the tables around it if they say what it is; "" if it has none.
    """
    match value:
        case dict():
            return "{…}" if value else "{}"
        case _ if value is HIDDEN or is_secret(name):
            return "…"
        case bool():
            return "true" if value else "false"
        case str():
            cleared = _without_secrets(value)
            cut = len(cleared) > SHOWN_CHARACTERS
            line = "".join(
                c if c.isprintable() else "\N{REPLACEMENT CHARACTER}"
                for c in cleared[:SHOWN_CHARACTERS]
            )
            return f'"{line}…"' if cut else f'"{line}"'
        case int():
            return str(value) if -(2**63) <= value < 2**63 else "(a number of more than 64 bits)"
        case list() | tuple():
            # A list of lists or tables may hold a secret as any table may.
            plain = not any(isinstance(item, dict | list) for item in value)
            line = ", ".join(shown(item) for item in value) if plain else "…"
            return f"[{line}]" if len(line) <= SHOWN_CHARACTERS else "[…]"
        case _:
            return str(value)


def _without_secrets(text: str) -> str:
    """An address without who is asked in at its door and with what; most other text as it is."""
    who, at, place = text.rpartition("@")
    if at:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)?", who)
        assert scheme is not None
        if re.search(r"[?#]", who):  # of a password, or of a question with an @ in it
            return f"{scheme[0]}…"
        text = f"{scheme[0]}…@{place}"
    return re.sub(r"(?s)([?#]).+", r"\1…", text)
