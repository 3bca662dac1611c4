"""Print the lowest version that pyproject.toml allows of every package it names, as constraints for pip.

python requirements/floors.py > floors.txt; pip install -c floors.txt -e '.[litellm]' pytest hypothesis
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for lines in (project["dependencies"], *project["optional-dependencies"].values()):
    for line in lines:
        if found := re.match(r"([\w.-]+)>=([\w.]+)", line):
            print(f"{found[1]}=={found[2]}")  # noqa: T201
