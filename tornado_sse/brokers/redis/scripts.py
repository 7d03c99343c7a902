"""The scripts that run in the engine, and what each is called by there: the SHA-1 of its text."""

import hashlib
from importlib import resources


class Script:
    """One script."""

    def __init__(self, name: str) -> None:
        self.text = resources.files(__package__).joinpath(name).read_bytes()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


ATTACH = Script("attach.lua")
PUBLISH = Script("publish.lua")
REPLAY = Script("replay.lua")
