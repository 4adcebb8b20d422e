"""What a number looks like in a file of text."""

from __future__ import annotations

import re

NUMBER_PATTERN = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
"""No character can be taken by two of its parts, so that a match takes linear time."""

NUMBER = re.compile(NUMBER_PATTERN, re.ASCII)
