"""Whole conversations in virtual time: script in, what was shown, sent and heard out."""

import trio

from appliance.conversation import Phase
from tests.box import a_box, tone


async def test_press_talk_be_answered(autojump_clock):
    async with a_box() as box:
        await box.say(tone(1.5))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        for e in box.events:
            print(e)
        print(len(box.spoken()), len(tone(1.5)), len(box.connection.heard))
        await box.until(Phase.ASLEEP)
        assert 0
