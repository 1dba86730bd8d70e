"""The bench: what a person feels of the daemon, and what it takes of the machine.

    python -m tests.bench.conversation [--quick] [--json]

Each figure stands beside the floor of the same rig, the barest loop on the same card (`floor.py`),
measured in the same run, and beside its budget. Nothing here fails because something is slow: it is
for reading. The daemon is the real one, `python -m appliance run`, in a process of its own on real
ALSA in real time (PulseAudio stands for the card), and so is the floor; the far end is a third
process (`server.py`), and what was played is heard at the card's monitor (`rig.py`).

How the figures are made:

  * *Press → silence* begins when `press` is written to the control socket, and ends with the last
    sample that the card has played, of which PulseAudio's block of 10 ms is the larger part. The
    server goes on sending for a while: whatever of that is heard counts. *Answered* is a bound for
    `PCM.drop()`: the answer goes out after that has returned, and in `hold` after the microphone's
    stream has been started too, which takes PulseAudio up to some milliseconds.
  * *Microphone → wire*: clicks are said into the microphone at odd intervals, and each is timed
    from when it sounds at the microphone to when its message is at the server. A message takes
    40 ms to fill. The daemon and both floors hear the same clicks.
  * *CPU and wakeups* are those of all threads of a process, ALSA's own included. While streaming,
    the daemon and both floors run side by side in the same seconds. When whoever speaks into the
    microphone of the lab hangs up, PulseAudio's blocks come apart from the card's periods: a loop
    that insists on whole periods then spins, so that is measured too.
  * *Asleep*: PulseAudio's threads in a process that has its cards open wake up 2.6 times a second
    by themselves. The floor has them too, so what is the daemon's own is what is above it.
  * *Memory* after many turns: turns as quick as the daemon takes them, each with a bit of sound
    that is really played, in `tap` (the server leads) and fewer in `hold` (its end of turn takes
    200 ms by design).
"""

import argparse
import contextlib
import json
import os
import platform
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from tests.paced.pulse import Lab, missing

from .rig import Ear, Rig, Server, Subject, wait_until
from .server import RATE_HZ, tone
from .table import NONE, Figure, at_most, figure, floor_and, floor_times, lines

MS = 1000
PREBUFFER_MS = 60
MESSAGE_MS = 40
ASLEEP_LEAST_S = 20.0
USER_SPOKE = {"type": "UserStartedSpeaking"}
HELD_S = 0.28  # longer than a tap
SILENT_S = 0.2  # after a stop; what comes through of an old answer would be heard in it
CLICK_EVERY_S = 0.407  # no multiple of a period, so that clicks fall everywhere in a message
ALWAYS_ON = 'duplex = "full"\nhang_up_after_s = 600'  # the microphone, in `tap`
SHIFTED_S = 2.5  # longer than the daemon takes to notice
HOLE_S = 0.002  # a tone that is away for so long has a gap
JITTER_MS = 55  # less than the prebuffer
PHASES = (
    *("asleep", "dialing", "listening", "thinking", "speaking", "resting", "trouble"),
    "hanging up, unanswered",
)

Running = contextlib.AbstractContextManager[tuple[Subject, Server]]


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    repetitions: int
    starts: int
    streams: int
    stream_s: float
    jitter_s: float
    outages: int
    tap_turns: int
    hold_turns: int


FULL = Size(30, 32, 3, 10.0, 8.0, 3, 1000, 200)
QUICK = Size(8, 8, 1, 4.0, 2.0, 1, 50, 10)


# ── silence, and the first sound ─────────────────────────────────────────────────────────────────


def talk(subject: Subject, server: Server) -> None:
    """Say something in `hold`, up to where its answer is due."""
    subject.press()
    time.sleep(HELD_S)
    subject.release()
    server.wait("ForceEndTurn")


class Player:
    """One who answers, is stopped, and answers again; the times of it, in milliseconds."""

    def __init__(self, ear: Ear, running: tuple[Subject, Server], *, taps: bool = False) -> None:
        self.told: list[float] = []  # from a press to its answer
        self.heard: list[float] = []  # from a press to the last sample
        self.heard_by_user: list[float] = []  # from `UserStartedSpeaking` to the last sample
        self.first: dict[float, list[float]] = {1.0: [], 20.0: []}  # from wire to sound, by pace
        self._ear = ear
        self._subject, self._server = running
        self._taps = taps
        if taps:
            self._subject.press()
            self._server.wait("Settings")
        else:
            talk(*running)
        self._settle()

    def stop_by_press(self, pace: float, after_s: float, *, cut: bool) -> None:
        """Press while it speaks; with `cut` the connection has gone by then."""
        self._speak(pace, after_s)
        if cut:
            self._server.order("cut")
            time.sleep(0.05)
        said_s, answered_s = self._subject.press()
        self.told.append((answered_s - said_s) * MS)
        self.heard.append(self._last_sound_ms(said_s))
        self._server.order("hush")
        time.sleep(max(0.0, said_s + HELD_S - time.monotonic()))
        self._subject.release()
        if not self._taps:
            self._server.wait("ForceEndTurn")
        self._settle()

    def stop_by_user(self, pace: float, after_s: float) -> None:
        """`UserStartedSpeaking` while it speaks."""
        self._speak(pace, after_s)
        sent_s = self._server.order("send", message=USER_SPOKE)
        self.heard_by_user.append(self._last_sound_ms(sent_s))
        self._server.order("hush")

    def _speak(self, pace: float, for_s: float) -> None:
        began_s = self._server.order("play", seconds=3, pace=pace)
        self.first[pace].append((self._ear.wait_loud(began_s) - began_s) * MS)
        time.sleep(for_s)

    def _last_sound_ms(self, since_s: float) -> float:
        spans = self._ear.spans(since_s, since_s + SILENT_S, HOLE_S)
        return (spans[-1][1] - since_s) * MS if spans else 0.0

    def _settle(self) -> None:
        """An answer without sound, after which nothing is awaited."""
        self._subject.release()
        self._server.order("play", seconds=0)


def measure_silence(rig: Rig, size: Size) -> Iterator[Figure]:
    """Press or `UserStartedSpeaking` → silence, and wire → first sample.

    In turns, so that a busy moment of the machine is nobody's alone.
    """
    dice = random.Random(1)
    with contextlib.ExitStack() as stack:
        ear = stack.enter_context(Ear(rig.lab, "speaker"))
        floor = Player(ear, stack.enter_context(rig.floor()))
        hold = Player(ear, stack.enter_context(rig.daemon("hang_up_after_s = 600")))
        lost = Player(ear, stack.enter_context(rig.daemon("hang_up_after_s = 600")))
        running = stack.enter_context(rig.daemon("hang_up_after_s = 600", mode="tap"))
        tap = Player(ear, running, taps=True)
        for number in range(size.repetitions):
            # As fast as the card plays it, so that much is still on its way; or all of it here.
            pace = (1.0, 20.0)[number % 2]
            for player in (floor, hold, tap, lost):
                cut = player is lost
                player.stop_by_press(20.0 if cut else pace, dice.uniform(0.05, 0.2), cut=cut)
            for player in (floor, hold, tap):
                player.stop_by_user(pace, dice.uniform(0.05, 0.2))
    budget = floor_and(5, "ms")
    for name, player in (("hold", hold), ("tap", tap), ("link lost", lost)):
        what = f"press -> silence, speaking, {name}"
        yield figure(f"{what}: answered", "ms", player.told, floor.told)
        yield figure(f"{what}: last sample", "ms", player.heard, floor.heard, budget)
    for name, player in (("hold", hold), ("tap", tap)):
        what = f"UserStartedSpeaking -> last sample, {name}"
        yield figure(what, "ms", player.heard_by_user, floor.heard_by_user, budget)
    for pace, words in ((20.0, "20x real time"), (1.0, "real time, 20 ms frames")):
        budget = at_most(PREBUFFER_MS + 5, "ms")
        ours = hold.first[pace] + tap.first[pace]
        yield figure(f"wire -> first sample, {words}", "ms", ours, floor.first[pace], budget)


# ── streaming ────────────────────────────────────────────────────────────────────────────────────


def clicks(length_s: float) -> tuple[bytes, int]:
    """Sound with a click every now and then, and how many there are."""
    click = tone(RATE_HZ // 200)
    silence = bytes(2 * round(CLICK_EVERY_S * RATE_HZ) - len(click))
    count = int(length_s / CLICK_EVERY_S)
    return silence + (click + silence) * count, count


@dataclass
class Stream:
    """What one of three took, side by side with the others."""

    delays_ms: list[float]
    cpu: list[float]
    wakes: list[float]
    shifted_cpu: list[float]  # once the card's blocks have come apart from its periods


def use(length_s: float, subjects: list[Subject]) -> list[tuple[float, float]]:
    """CPU and wakeups of each over so many seconds."""
    before = [subject.usage() for subject in subjects]
    time.sleep(length_s)
    return [subject.usage().since(it) for subject, it in zip(subjects, before, strict=True)]


def stream(rig: Rig, length_s: float, into: list[Stream]) -> None:
    """Let the daemon and both floors stream and play for a while, and hear the same clicks."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(rig.daemon(ALWAYS_ON, mode="tap")),
            stack.enter_context(rig.floor("threads")),
            stack.enter_context(rig.floor("trio")),
        ]
        for subject, _ in running[:2]:
            subject.press()
        for _, server in running:
            server.wait("Settings")
            server.order("play", seconds=length_s + 10, frame_ms=MESSAGE_MS)
        running[0][0].release()
        ear = stack.enter_context(Ear(rig.lab, "mic"))
        time.sleep(1)
        sound, count = clicks(length_s + 1)
        said_s = time.monotonic()
        saying = rig.lab.say(sound)
        time.sleep(0.5)
        used = use(length_s, [subject for subject, _ in running])
        saying.wait()
        time.sleep(0.5)
        shifted = use(SHIFTED_S, [subject for subject, _ in running])
        clicked = [begin_s for begin_s, _ in ear.spans(said_s, time.monotonic(), 0.1)]
        arrived = [server.order("clicks") for _, server in running]
    assert [len(clicked), *map(len, arrived)] == [count] * 4, "a click was lost"
    for one, arrivals, steady, later in zip(into, arrived, used, shifted, strict=True):
        one.delays_ms += [(b - a) * MS for a, b in zip(clicked, arrivals, strict=True)]
        one.cpu.append(steady[0])
        one.wakes.append(steady[1])
        one.shifted_cpu.append(later[0])


def measure_streaming(rig: Rig, size: Size) -> Iterator[Figure]:
    """Microphone → wire, CPU and wakeups, while sound goes both ways."""
    ours, threads, bare_trio = into = [Stream([], [], [], []) for _ in range(3)]
    for _ in range(size.streams):
        stream(rig, size.stream_s, into)
    what, budget = "microphone -> wire", at_most(MESSAGE_MS + 5, "ms")
    yield figure(f"{what}; floor: threads", "ms", ours.delays_ms, threads.delays_ms, budget)
    yield figure(f"{what}; floor: trio", "ms", ours.delays_ms, bare_trio.delays_ms, budget)
    what = "streaming and playing: CPU"
    yield figure(f"{what}; floor: threads", "%", ours.cpu, threads.cpu)
    yield figure(f"{what}; floor: trio", "%", ours.cpu, bare_trio.cpu, floor_times(1.5))
    what = "the same, blocks and periods apart; floor: trio"
    yield figure(what, "%", ours.shifted_cpu, bare_trio.shifted_cpu, floor_times(1.5))
    what = "streaming and playing: wakeups"
    yield figure(f"{what}; floor: threads", "/s", ours.wakes, threads.wakes)
    yield figure(f"{what}; floor: trio", "/s", ours.wakes, bare_trio.wakes)


# ── gaps ─────────────────────────────────────────────────────────────────────────────────────────


def gaps(rig: Rig, running: Running, size: Size) -> list[list[float]]:
    """Gaps in answers over a network that jitters, in small frames and in larger ones; and in
    answers with one outage each."""
    with running as (subject, server), Ear(rig.lab, "speaker") as ear:
        talk(subject, server)

        def holes(length_s: float, **manners: float) -> float:
            began_s = server.order("play", seconds=length_s, **manners)
            heard_s = ear.wait_loud(began_s)
            until_s = heard_s + length_s + manners.get("outage_s", 0) + 0.3
            return float(len(ear.spans(began_s, until_s, HOLE_S)) - 1)

        return [
            [holes(size.jitter_s, jitter_ms=JITTER_MS, frame_ms=20)],
            [holes(size.jitter_s, jitter_ms=JITTER_MS, frame_ms=40)],
            [holes(1.0, outage_at_s=0.5, outage_s=0.6) for _ in range(size.outages)],
        ]


def measure_gaps(rig: Rig, size: Size) -> Iterator[Figure]:
    """What is heard of a bad network."""
    floor = gaps(rig, rig.floor(), size)
    ours = gaps(rig, rig.daemon(), size)
    what = f"gaps in {size.jitter_s:g} s, jitter {JITTER_MS} ms"
    yield figure(f"{what}, 20 ms frames", "", ours[0], floor[0], at_most(0, ""))
    yield figure(f"{what}, 40 ms frames", "", ours[1], floor[1], at_most(0, ""))
    yield figure("gaps for an outage of 0.6 s", "", ours[2], floor[2], at_most(1, ""))


# ── start and end ────────────────────────────────────────────────────────────────────────────────


def cards_are_open(subject: Subject) -> bool:
    """Whether both halves of the card are: their opening may hold up a press."""
    status = subject.ask("status")
    return bool(status["microphone"]["state"] == status["speaker"]["state"] == "open")


def reach(phase: str, subject: Subject, server: Server) -> float:
    """Bring a daemon that is asleep into a phase; how long its first press took to answer."""
    if phase == "dialing":
        server.order("manners", silent=True)
    if phase == "trouble":
        server.order("manners", refuse=401)
    if phase == "hanging up, unanswered":
        server.order("manners", never_closes=True)
    wait_until(lambda: cards_are_open(subject), "the cards are not open")
    said_s, answered_s = subject.press()
    if phase == "asleep":
        subject.release()  # a mere tap
        subject.wait_phase("asleep")
    elif phase in ("dialing", "trouble"):
        server.wait("request")
        if phase == "trouble":
            subject.wait_phase("trouble")
    else:
        server.wait("Settings")
        if phase not in ("listening", "hanging up, unanswered"):
            subject.release()
            server.wait("ForceEndTurn")
        if phase in ("speaking", "resting"):
            server.order("play", seconds=5 if phase == "speaking" else 0.1, pace=20)
            subject.wait_phase(phase)
    return (answered_s - said_s) * MS


def measure_start_and_end(rig: Rig, size: Size) -> Iterator[Figure]:
    """Start → READY, the first press → lamp, and SIGTERM → gone."""
    started: list[float] = []
    lamp: list[float] = []
    gone: dict[str, list[float]] = {phase: [] for phase in PHASES}
    floor_started, floor_gone = [], []
    for number in range(size.starts):
        with rig.floor() as (subject, _), rig.daemon() as (daemon, server):
            phase = PHASES[number % len(PHASES)]
            pressed_ms = reach(phase, daemon, server)
            daemon_gone_s, floor_gone_s = daemon.terminate(), subject.terminate()
            started.append(daemon.ready_s)
            floor_started.append(subject.ready_s)
            lamp.append(pressed_ms)
            gone[phase].append(daemon_gone_s)
            floor_gone.append(floor_gone_s)
    yield figure("start -> READY=1", "s", started, floor_started, at_most(0.6, "s"))
    yield figure("press -> lamp, asleep", "ms", lamp, (), at_most(10, "ms"))
    for phase, lengths in gone.items():
        yield figure(f"SIGTERM -> gone, {phase}", "s", lengths, floor_gone, at_most(1, "s"))


# ── asleep ───────────────────────────────────────────────────────────────────────────────────────


class Sleepers:
    """A daemon that was never pressed, one that has had its conversation, and a floor.

    They sleep while all else is measured: the longer, the better their figures.
    """

    def __init__(self, rig: Rig, stack: contextlib.ExitStack) -> None:
        self._sleepers = [
            stack.enter_context(running)[0] for running in (rig.daemon(), rig.floor())
        ]
        subject, server = stack.enter_context(rig.daemon("hang_up_after_s = 1"))
        self._sleepers.append(subject)
        talk(subject, server)
        server.order("play", seconds=0.1, pace=20)
        subject.wait_phase("asleep")
        time.sleep(1)
        self._before = [sleeper.usage() for sleeper in self._sleepers]

    def figures(self) -> Iterator[Figure]:
        """CPU and wakeups since they were made, at least 20 s; and memory of one that is new."""
        time.sleep(max(0.0, self._before[0].at_s + ASLEEP_LEAST_S - time.monotonic()))
        fresh, floor, rested = (
            sleeper.usage().since(before)
            for sleeper, before in zip(self._sleepers, self._before, strict=True)
        )
        for words, (cpu, wakes) in (("since the start", fresh), ("after a conversation", rested)):
            yield figure(f"asleep {words}: CPU", "%", [cpu], [floor[0]], at_most(0.1, "%"))
            budget = floor_and(2, "/s")
            yield figure(f"asleep {words}: wakeups", "/s", [wakes], [floor[1]], budget)
        memory = [sleeper.memory_mib() for sleeper in self._sleepers]
        yield figure("memory, never pressed", "MiB", memory[:1], memory[1:2], at_most(45, "MiB"))


# ── after many turns ─────────────────────────────────────────────────────────────────────────────


def tap_turns(rig: Rig, count: int, told: list[float]) -> None:
    """Turns that the server leads; memory in MiB after each tenth of them."""
    with rig.daemon(ALWAYS_ON, mode="tap") as (subject, server):
        subject.press()
        subject.release()
        server.wait("Settings")
        for number in range(1, count + 1):
            server.order("send", message=USER_SPOKE)
            server.order("play", seconds=0.02, pace=20)
            subject.wait_phase("speaking")
            subject.wait_phase("listening")
            if number % (count // 10) == 0:
                told.append(subject.memory_mib())


def hold_turns(rig: Rig, count: int, told: list[float]) -> None:
    """The same with a finger: a quarter of a second is said each time."""
    with rig.daemon("tap_ms = 20") as (subject, server):
        for number in range(1, count + 1):
            subject.press()
            time.sleep(0.05)
            subject.release()
            server.wait("ForceEndTurn")
            server.order("play", seconds=0.02, pace=20)
            subject.wait_phase("resting")
            if number % (count // 10) == 0:
                told.append(subject.memory_mib())


def measure_memory(rig: Rig, size: Size) -> Iterator[Figure]:
    """Memory over many turns, in two daemons at once."""
    kinds = (("tap", tap_turns, size.tap_turns), ("hold", hold_turns, size.hold_turns))
    told: dict[str, list[float]] = {words: [] for words, _, _ in kinds}
    threads = [
        threading.Thread(target=turns, args=(rig, count, told[words]))
        for words, turns, count in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for words, _, count in kinds:
        for tenth in (1, 5, 10):
            what = f"memory after {tenth * count // 10} turns, {words}"
            budget = at_most(45, "MiB") if tenth == 10 else NONE
            yield figure(what, "MiB", [told[words][tenth - 1]], (), budget)


# ── the table ────────────────────────────────────────────────────────────────────────────────────

PARTS: tuple[Callable[[Rig, Size], Iterator[Figure]], ...] = (
    measure_silence,
    measure_streaming,
    measure_gaps,
    measure_start_and_end,
    measure_memory,
)


def head(size: Size) -> dict[str, object]:
    """What has to be known of the machine and the run."""
    return {
        "run": "full" if size is FULL else "quick",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "python": platform.python_version(),
        "trio": version("trio"),
        "load_average": [round(one, 2) for one in os.getloadavg()],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.conversation")
    parser.add_argument("--quick", action="store_true", help="fewer of everything: a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", metavar="WORD", default="", help="parts with this in their name")
    words = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"needs {', '.join(lacking)}: deploy/test.sh installs them", file=sys.stderr)
        return 1
    size = QUICK if words.quick else FULL
    told: dict[str, object] = head(size)
    began_s = time.monotonic()
    figures: list[Figure] = []
    with Lab() as lab, contextlib.closing(Rig(lab)) as rig, contextlib.ExitStack() as stack:
        sleepers = Sleepers(rig, stack)
        for part in PARTS:
            if words.only in part.__name__:
                print(part.__name__.replace("_", " "), file=sys.stderr, flush=True)
                part_s = time.monotonic()
                figures += part(rig, size)
                print(f"  {time.monotonic() - part_s:.0f} s", file=sys.stderr, flush=True)
        figures += sleepers.figures()
    told["took_s"] = round(time.monotonic() - began_s, 1)
    told["load_average_after"] = [round(one, 2) for one in os.getloadavg()]
    if words.json:
        print(json.dumps({**told, "figures": [one.as_json() for one in figures]}))
    else:
        print(*(f"{name}: {it}" for name, it in told.items()), sep="; ", end="\n\n")
        print("\n".join(lines(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
