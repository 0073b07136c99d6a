"""What the image holds: the package's dependencies and the extras that its workflows need, one a line."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras["bossdb"], *extras["timelapse"], sep="\n")
