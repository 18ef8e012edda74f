"""A disk that is full: what is answered, what is left, whether work goes on with room again (needs root).

`python benchmarks/service/disk_full.py`
"""

import os
from pathlib import Path
import subprocess
import tempfile
import time

from started import Started


def main() -> None:
    """On a small file system."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        # The API keeps 500 MB free for results: the disk is that much larger than 64 MB.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=564m", "tmpfs", str(disk)], check=True)
        try:
            measure(Started(disk / "data", patience=2.0), disk)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def measure(service: Started, disk: Path) -> None:
    """Fill the disk from outside, and see."""
    before = service.send(b"plain before").json()["job"]["id"]
    service.wait(before)
    large = service.send(os.urandom(100_000_000))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(200_000_000))
    small = service.send(b"plain refused")
    ready = service.api.get("/ready")
    ballast.unlink()
    waiting = service.send(b"fill 300000000").json()["job"]["id"]
    while service.job(waiting)["state"] == "queued":
        time.sleep(0.005)
    with ballast.open("wb") as file:  # the job runs: its result finds no room
        try:
            while file.write(bytes(1 << 20)):
                file.flush()
        except OSError:
            pass
    time.sleep(3)
    state = service.job(waiting)["state"]
    health = service.api.get("/health").status_code
    ballast.unlink()
    after = service.send(b"plain after").json()["job"]["id"]
    ended = service.wait(waiting, after, seconds=60)
    left = len(service.names("running")) + len(service.names("incoming"))
    service.kill()
    retry = small.headers.get("retry-after")
    print("| | |\n|---|---|")
    print(f"| upload of 100 MB without room | {large.status_code} |")
    print(f"| small upload on the full disk | {small.status_code}, Retry-After {retry} |")
    print(f"| /ready, /health meanwhile | {ready.status_code}, {health} |")
    print(f"| a job whose result finds no room | {state}, then {ended[0]['state']} |")
    print(f"| sent after room was made, without a restart | {ended[1]['state']} |")
    print(f"| left over | {left} |")


if __name__ == "__main__":
    main()
