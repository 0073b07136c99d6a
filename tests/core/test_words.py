"""Words of a command line: whatever a user says, bash takes it as it was, and as nothing else."""

from __future__ import annotations

import subprocess

from voxelmill.core.words import flag, quoted

WORDS = [
    "plain,1.5",
    "it's",
    "--x",
    "a\tb\r\n  c  d\n",
    "ü *?[a] {b}",
    "",
    "$'x'",
    "\\n\n\\'",
    '$(touch PWNED) `touch PWNED` "$HOME"',
]


def test_quoted_words_come_out_of_bash_as_they_were():
    """On one line each: Nextflow strips the indent of scripts."""
    safe = [quoted(word) for word in WORDS]
    assert all("\n" not in word for word in safe)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {' '.join(safe)}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == WORDS
    assert flag("title", "--x") == "--title=--x"
