"""Arrays and files on disk: scratch space, what a stage keeps, writing whole or not at all."""

from .context import RunContext
from .files import Target, make_folder, open_to_write, translated_errors, write_bytes
from .journal import ProgressJournal, as_text_array, checksum, from_text_array
from .scratch import KEPT, DiskScratch, Scratch
from .seals import SEAL, Seal, is_unbroken, mark_begun, put_seal, read_seal, users_key, was_begun

__all__ = [
    "KEPT",
    "SEAL",
    "DiskScratch",
    "ProgressJournal",
    "RunContext",
    "Scratch",
    "Seal",
    "Target",
    "as_text_array",
    "checksum",
    "from_text_array",
    "is_unbroken",
    "make_folder",
    "mark_begun",
    "open_to_write",
    "put_seal",
    "read_seal",
    "translated_errors",
    "users_key",
    "was_begun",
    "write_bytes",
]
