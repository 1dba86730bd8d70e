"""The recorded sentences, and the words they were made from, as files.

They lie beside this file, a folder for each language; those of the owner's own folder go before.
Files are read when they are wanted and not kept: the largest has 40 kB, and most are never heard.
"""

import logging
import tomllib
from pathlib import Path

from appliance.errors import DeviceError
from appliance.sound.wav import LIMIT_S, NotReadable, Recording, parse

WORDS_IN = "en"  # what the box says in words where it has no language
FILE_LIMIT = round(LIMIT_S * 48000 * 2) + 4096  # bytes; no sentence is near it

log = logging.getLogger("appliance.sound")

_PROMPTS = Path(__file__).parent / "prompts"


def recording(name: str, language: str, own: str) -> Recording:
    """The sentence of that name: the owner's in the folder `own`, else the language's.

    A file of the owner's that cannot be used is told to the journal, and passed over.

    Raises:
        DeviceError: it cannot be read.
    """
    path = Path(own) / f"{name}.wav"
    if own and path.exists():
        try:
            return _read(path)
        except (OSError, NotReadable) as error:
            log.warning("%s: %s", path, error)
    try:
        return parse((_PROMPTS / language / f"{name}.wav").read_bytes())
    except (OSError, NotReadable) as error:
        raise DeviceError(f"the sentence {name!r} cannot be read: {error}") from error


def _read(path: Path) -> Recording:
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise NotReadable(f"wanted sound, at most {LIMIT_S:.0f} s of it")
    return parse(content)


def permission(function: str, language: str) -> str:
    """The question before a function, in words: the agent speaks it with its own voice.

    The function goes by its name, as it would be read: its description tells the agent when to
    call it, and is no sentence for ears. Reads a file of 2 kB.
    """
    text = (_PROMPTS / (language or WORDS_IN) / "prompts.toml").read_text(encoding="utf-8")
    template: str = tomllib.loads(text)["permission"]
    return template.replace("{name}", function.replace("_", " ").replace("-", " ").strip())
