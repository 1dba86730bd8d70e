"""What the emulated machine is made of: QEMU's own words for it.

    Raspberry Pi 4B in name      a device tree that says so, which is what gpiozero looks at
    sound card                   snd-aloop in the guest: what is played at one end is recorded at
                                 the other, in real time
    pins                         gpio-sim in the guest: 54 lines, gpiochip0
    disk, network, chance        virtio; ssh comes in by a port of this machine's choosing

`build.sh` takes this file into the name of the machine that it builds: a state that was kept can
be gone on with only by the same hardware. Pure standard library, for Debian's Python.
"""

import subprocess
import sys
from pathlib import Path

MEMORY_MIB = 1024
BOARD = ("-cpu", "cortex-a72", "-smp", "2", "-m", str(MEMORY_MIB))
NETWORK = ("-device", "virtio-net-pci,netdev=net,romfile=")
KERNEL_WORDS = "console=ttyAMA0 root=/dev/vda rw quiet mitigations=off nokaslr"


def command(parts: Path, disk: Path, monitor: Path) -> list[str]:
    """How QEMU is called: the parts that were built, a disk of one's own, a socket to talk at.

    It listens for ssh on a free port of 127.0.0.1; the monitor's `info usernet` says which.
    """
    return [
        *("qemu-system-aarch64", "-M", "virt", *BOARD, "-accel", "tcg,thread=multi"),
        *("-nographic", "-no-reboot", "-dtb", f"{parts}/board.dtb"),
        *("-kernel", f"{parts}/kernel", "-initrd", f"{parts}/initrd", "-append", KERNEL_WORDS),
        *("-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe"),
        *("-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22", *NETWORK),
        *("-device", "virtio-rng-pci"),
        *("-qmp", f"unix:{monitor},server=on,wait=off"),
    ]


def write_tree(file: Path) -> None:
    """Let QEMU write the device tree of this hardware into `file`."""
    command = [
        *("qemu-system-aarch64", "-M", f"virt,dumpdtb={file}", *BOARD, "-nographic"),
        *("-netdev", "user,id=net", *NETWORK, "-device", "virtio-rng-pci"),
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    write_tree(Path(sys.argv[1]))
