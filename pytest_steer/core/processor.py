"""What this machine's processor can do, asked without torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

# As Linux lists them: x86 (AVX-512, AMX) and ARM.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@cache
def has_bfloat16(listing: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bfloat16; False where that cannot be told."""
    try:
        text = listing.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = (line.partition(":")[2] for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return any(_BFLOAT16 & set(line.split()) for line in flags)
