"""Which trouble is said in which words, and which is not said at all. Pure.

A sentence is named as its recording is, in `prompts/<language>/`. Said is what an owner can mend,
or has to know in order to ask again; a trouble that goes by itself has the trouble cue alone; a
speaker that is missing cannot say so, and a panel that is missing ends nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType

from appliance.errors import Trouble

LANGUAGES = ("en", "de")  # that ship; each is a folder of `prompts`
UPDATED = "updated"  # said after an update, which is no trouble
CUE = ""  # no words

T = Trouble
TOLD: Mapping[Trouble, str | None] = MappingProxyType(
    {
        T.NO_NETWORK: "no-network",
        T.UNREACHABLE: "unreachable",
        T.SILENT: "unreachable",
        T.GARBAGE: "server-error",
        T.SERVER_ERROR: "server-error",
        T.CLOCK_WRONG: "clock-wrong",
        T.CERTIFICATE: "certificate",
        T.KEY_REFUSED: "key-refused",
        T.KEY_COMMAND: "key-command",
        T.NO_CREDIT: "no-credit",
        T.TOO_MANY: "too-many",
        T.NOT_FOUND: "settings-refused",
        T.SETTINGS_REFUSED: "settings-refused",
        T.GOING_AWAY: CUE,
        T.END_TURN_REFUSED: CUE,
        T.LINK_LOST: CUE,
        T.NO_CONNECTION: "no-connection",
        T.CAP_REACHED: "cap-reached",
        T.HEARD_NOTHING: "heard-nothing",
        T.NO_ANSWER: "no-answer",
        T.MICROPHONE_MISSING: "microphone-missing",
        T.SPEAKER_MISSING: None,
        T.PANEL_MISSING: None,
        T.BUTTON_STUCK: None,
    }
)
