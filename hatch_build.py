"""Builds the service's page from frontend/ into the package, for the wheel and the sdist.

A source distribution brings the page along, so that npm is needed only in a git checkout. Editable installs
are left alone: `make page` builds the page there.
"""

from pathlib import Path
import shutil
import subprocess
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("src", "covid19net", "service", "page")
MISSING = (
    "npm was not found: this build has {has}. Install Node.js 20.19 or later with npm and build again; "
    "everything but the page of `covid19net serve` works without it."
)
FAILED = "the page could not be built: `npm {command}` in frontend/ failed; its messages stand above"


class PageHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Runs npm before files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page, unless the files to build from came with it already built."""
        root = Path(self.root)
        from_sdist = (root / "PKG-INFO").is_file()
        if version == "editable" or (from_sdist and (root / PAGE / "index.html").is_file()):
            return
        npm = shutil.which("npm")
        if npm is None:
            built = (root / PAGE / "index.html").is_file()
            has = "the page as it was last built here" if built else "no page"
            self.app.display_warning(MISSING.format(has=has))
            return
        for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *command], cwd=root / "frontend", check=False)
            if done.returncode:
                raise RuntimeError(FAILED.format(command=" ".join(command)))
