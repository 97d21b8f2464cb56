"""Running forwards: what is asked of the model, in batches, sharing what can be shared, and remembered."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .. import progress
from ..errors import DataError, MeasurementError, SteerWarning
from ..steering import Intervention
from .fanout import fanned_out
from .hooks import hooked
from .layout import Layout, Path, lay_out
from .memo import DiskMemo, Scores, model_part
from .probes import Bundle, Probe, Row, bundle_up

if TYPE_CHECKING:
    from .loaded import Model

# What a model says when its blocks cannot take a tree mask or repeated arguments.
_MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError)


class Engine:
    """Answers probes under an intervention at several multipliers.

    Scores are remembered for as long as the model lives: a score depends on the intervention, the multiplier, the
    tokens and the scope, and on nothing else, so asking twice costs nothing. With ``disk`` they outlive the run.

    Attributes:
        padding: side on which shorter rows of a batch are filled up.
        sharing: take the faster ways of ``layout.py`` where they pay. Before the first use of one at a layer its result is
            compared with the plain way's on this model; a model that computes something else takes the plain way.
        disk: keeps scores across runs; None unless the user names a folder for it.
        forwards: scores that were computed; remembered: scores that were answered from memory.
    """

    def __init__(self, model: Model, *, padding: Literal["left", "right"] = "right", sharing: bool = True) -> None:
        self.model = model
        self.padding = padding
        self.sharing = sharing
        self.forwards = self.remembered = 0
        self.disk: DiskMemo | None = None
        self._memo: dict[bytes, Scores] = {}
        self._model_part: bytes | None = None
        self._halved = False
        self._exact: dict[tuple[Path, bool, int], bool] = {}
        self._weights = model.weights_state()
        self._taken: dict[str, Path] = {}
        self._takes_positions = "position_ids" in inspect.signature(model.hf.forward).parameters
        self._reach = _attention_reach(model)
        self._other_sizes = _head_counts(model)
        on_cpu = model.device.type == "cpu"
        self._max_tokens = 2048 if on_cpu else 16384
        self._max_logits = 2**26 if on_cpu else 2**28

    def run(
        self, probes: Sequence[Probe], intervention: Intervention | None, multipliers: Sequence[float]
    ) -> list[list[Scores]]:
        """Scores of each probe at each multiplier.

        Returns:
            [probe][multiplier] -> float64 array: raw logits of the candidates, or log-likelihoods of the scored tokens.

        Raises:
            SteerError: a ``steering`` block is open on the model.
            DataError: a sequence is longer than the model allows, or would not be steered at all.
            MeasurementError: a score is NaN or infinite.
        """
        self.model.check_unsteered()
        for probe in probes:
            self._check(probe, intervention)
        if self._weights != self.model.weights_state():
            self._memo.clear()
            self._model_part = None
            self._weights = self.model.weights_state()
        asked = [[Row(p, m, self._key(p, intervention, m)) for m in multipliers] for p in probes]
        wanted = self._unknown(asked, intervention)
        done = 0
        for batch, path in self._batches(bundle_up(wanted), intervention):
            if intervention is not None:
                self._taken[intervention.hash] = path
            for row, scores in self._answers(batch, intervention, path):
                if not np.isfinite(scores).all():
                    raise MeasurementError(
                        f"{row.probe.name}: the model gives NaN or infinity at multiplier {row.multiplier:g}; "
                        "a smaller multiplier or float32 may help"
                    )
                self._memo[row.key] = scores
                done += 1
            self._keep(batch, intervention)
            if done < len(wanted):
                progress.report(f"{done} of {len(wanted)} scores")
        self.forwards += done
        return [[self._memo[row.key] for row in rows] for rows in asked]

    def path(self, intervention: Intervention) -> Path:
        """The way in which the last forwards under this intervention were run."""
        return self._taken.get(intervention.hash, "plain")

    def _unknown(self, asked: list[list[Row]], intervention: Intervention | None) -> list[Row]:
        """The scores that nobody has asked for yet."""
        found = {row.key: row for rows in asked for row in rows if row.key not in self._memo}
        if self.disk is not None and found and _is_durable(intervention):
            self._memo |= self.disk.read({key: self._on_disk(key) for key in found})
        unknown = [row for key, row in found.items() if key not in self._memo]
        self.remembered += sum(map(len, asked)) - len(unknown)
        return unknown

    def _keep(self, batch: list[Bundle], intervention: Intervention | None) -> None:
        """Puts the scores of a batch on disk, if there is one."""
        if self.disk is not None and _is_durable(intervention):
            self.disk.write({self._on_disk(row.key): self._memo[row.key] for bundle in batch for row in bundle.rows})

    def _on_disk(self, key: bytes) -> bytes:
        if self._model_part is None:
            self._model_part = model_part(self.model)
        return self._model_part + key

    def _answers(self, batch: list[Bundle], intervention: Intervention | None, path: Path) -> Iterator[tuple[Row, Scores]]:
        """Scores of a batch; if memory runs out, of its halves, and later batches are half as large."""
        found: list[tuple[Row, Scores]] | None = None
        try:
            found = self._forward(batch, intervention, path)
        except RuntimeError as error:
            if not _is_out_of_memory(error) or not _halves(batch):
                raise
        if found is None:  # behind the handler, so that nothing of the failed forward is held any more
            if not self._halved:
                warnings.warn(SteerWarning("memory ran out: going on with smaller batches"), stacklevel=2)
            self._halved = True
            self._max_tokens //= 2
            found = [pair for half in _halves(batch) for pair in self._answers(half, intervention, path)]
        yield from found

    def _check(self, probe: Probe, intervention: Intervention | None) -> None:
        limit = self.model.max_positions
        if limit is not None and len(probe.ids) > limit:
            raise DataError(f"{probe.name}: has {len(probe.ids)} tokens, but {self.model.id} takes at most {limit}")
        if intervention is not None and probe.steer_from >= len(probe.ids):
            raise DataError(
                f"{probe.name}: no token is steered: the scope begins at token {probe.steer_from} of {len(probe.ids)}; "
                "steer 'all', or take the first position in (include_first)"
            )

    @staticmethod
    def _key(probe: Probe, intervention: Intervention | None, multiplier: float) -> bytes:
        digest = hashlib.blake2b(array("q", probe.ids).tobytes(), digest_size=20)
        digest.update(repr((probe.candidates, probe.score_from if probe.candidates is None else None)).encode())
        if not _is_idle(intervention, multiplier):
            assert intervention is not None
            digest.update(repr((intervention.hash, multiplier, probe.steer_from)).encode())
        return digest.digest()

    def _batches(self, bundles: list[Bundle], intervention: Intervention | None) -> Iterator[tuple[list[Bundle], Path]]:
        """Bundles of similar length that go the same way, within the token and the logit budget."""
        vocabulary = int(self.model.hf.config.get_text_config(decoder=True).vocab_size)
        alike: dict[tuple[Path, bool], list[Bundle]] = {}
        for bundle in bundles:
            path = self._best_path(bundle, intervention)
            alike.setdefault((path, bundle.branches(path == "shared positions")), []).append(bundle)
        for (path, branching), members in alike.items():
            batch: list[Bundle] = []
            longest = rows = reads = 0
            for bundle in sorted(members, key=lambda b: -_sheet_length(b, path)):
                more_rows = {"plain": len(bundle.rows), "shared depth": len(bundle.multipliers), "shared positions": 1}[path]
                more_reads = sum(len(row.probe.reads) for row in bundle.rows)
                full = (
                    longest * (rows + more_rows) > self._max_tokens or (reads + more_reads) * vocabulary > self._max_logits
                )
                if batch and full:
                    yield batch, self._tried(batch, intervention, path, branching)
                    batch, longest, rows, reads = [], 0, 0, 0
                batch.append(bundle)
                longest = max(longest, _sheet_length(bundle, path))
                rows += more_rows
                reads += more_reads
            if batch:
                yield batch, self._tried(batch, intervention, path, branching)

    def _best_path(self, bundle: Bundle, intervention: Intervention | None) -> Path:
        """The way that runs the fewest tokens through the fewest blocks."""
        if not self.sharing or intervention is None or len(bundle.rows) == 1:
            return "plain"
        count = len(bundle.multipliers)
        depth = (min(intervention.layers) + 1) / self.model.n_layers
        costs: dict[Path, float] = {
            "plain": float(sum(len(row.probe.ids) for row in bundle.rows)),
            "shared depth": bundle.tokens * (depth + count * (1 - depth)),
            "shared positions": bundle.trunk + count * (bundle.tokens - bundle.trunk),
        }
        if not self._takes_positions or max(len(probe.ids) for probe in bundle.probes) > self._reach:
            # Branches need positions of their own, and a tree mask would stand in for a shorter one of the model's.
            del costs["shared positions"]
            if len(bundle.probes) > 1:
                del costs["shared depth"]
        return min(costs, key=lambda path: costs[path])

    def _tried(self, batch: list[Bundle], intervention: Intervention | None, path: Path, branching: bool) -> Path:
        """The path, if it gives on this model what the plain one gives; tried out once per layer, with and without branches."""
        if path == "plain" or intervention is None:
            return "plain"
        key = (path, branching, min(intervention.layers))
        if key not in self._exact:
            # The longest sheets at the farthest multipliers: there a way that is nearly right is farthest off.
            trial = [bundle.at(tuple(sorted(bundle.multipliers, key=abs)[-2:])) for bundle in batch[:2]]
            try:
                shared = {row.key: scores for row, scores in self._forward(trial, intervention, path)}
            except _MISFITS:
                self._exact[key] = False
            else:
                tolerance = 1e-4 if self.model.dtype == "float32" else 0.25
                self._exact[key] = all(
                    np.allclose(shared[row.key], scores, rtol=tolerance, atol=tolerance)
                    for row, scores in self._forward(trial, intervention, "plain")
                )
        return path if self._exact[key] else "plain"

    @torch.inference_mode()
    def _forward(self, bundles: list[Bundle], intervention: Intervention | None, path: Path) -> list[tuple[Row, Scores]]:
        layout = lay_out(bundles, path)
        inputs, steered, strength, shifts = self._inputs(layout, path)
        reads = [(row, shifts[layout.source[row]] + at) for places in layout.reads for row, at in places]
        with ExitStack() as stack:
            if intervention is not None and not all(_is_idle(intervention, row.multiplier) for row in layout.rows):
                source = torch.tensor(layout.source)
                if path == "shared depth":
                    stack.enter_context(fanned_out(self.model, min(intervention.layers), source, len(inputs["input_ids"])))
                dose = strength if layout.row_strength is None else torch.tensor(layout.row_strength)[:, None]
                stack.enter_context(hooked(self.model, intervention, lambda: (dose, steered[source])))
            logits = self._logits(inputs, reads)
        return _split(layout.rows, logits)

    def _inputs(self, layout: Layout, path: Path) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor, list[int]]:
        """Padded inputs of the forward, steered [sheets, tokens], strength of the same shape, and each sheet's start."""
        sheets, device = layout.sheets, self.model.device
        length = max(len(sheet.ids) for sheet in sheets)
        count = len(sheets)
        # Where a batch fans out, its arguments are told from others by their first size (see fanout.py), so that must not
        # be the size of anything else: rows that nobody reads make up the difference.
        while path == "shared depth" and count > 1 and count in (length, *self._other_sizes):
            count += 1
        ids = torch.zeros(count, length, dtype=torch.long)
        positions, real = torch.zeros_like(ids), torch.zeros_like(ids)
        steered, strength = torch.zeros_like(ids, dtype=torch.bool), torch.zeros(count, length)
        real[len(sheets) :] = 1
        shifts = [length - len(sheet.ids) if self.padding == "left" else 0 for sheet in sheets]
        for row, (sheet, shift) in enumerate(zip(sheets, shifts, strict=True)):
            own = slice(shift, shift + len(sheet.ids))
            ids[row, own] = torch.tensor(sheet.ids)
            positions[row, own] = torch.tensor(sheet.positions)
            real[row, own] = 1
            steered[row, own] = torch.tensor(sheet.steered)
            strength[row, own] = torch.tensor(sheet.strength)
        mask = real
        if not all(sheet.is_chain for sheet in sheets):
            # Padding sees itself, so that no token sees nothing.
            seen = torch.eye(length, dtype=torch.bool).repeat(count, 1, 1)
            for row, (sheet, shift) in enumerate(zip(sheets, shifts, strict=True)):
                own = slice(shift, shift + len(sheet.ids))
                seen[row, own, own] = sheet.mask()
            kind = next(self.model.hf.parameters()).dtype
            mask = torch.zeros(seen.shape, dtype=kind).masked_fill(~seen, torch.finfo(kind).min)[:, None]
        inputs: dict[str, Any] = {"input_ids": ids.to(device), "attention_mask": mask.to(device), "use_cache": False}
        if self._takes_positions:
            # Absolute positions (GPT-2) count real tokens only, on whichever side the padding is.
            inputs["position_ids"] = positions.to(device)
        return inputs, steered, strength, shifts

    def _logits(self, inputs: dict[str, Any], reads: list[tuple[int, int]]) -> torch.Tensor:
        """Logits at the asked (row, position) pairs only, [len(reads), vocabulary], float32."""
        rows, positions = torch.tensor(reads, device=self.model.device).unbind(1)
        head = self.model.hf.get_output_embeddings()
        if head is None:
            whole: torch.Tensor = self.model.hf(**inputs).logits
            return whole[rows, positions].float()
        with _reading_only(head, rows, positions):
            logits: torch.Tensor = self.model.hf(**inputs).logits
        return logits[0].float()


def _is_idle(intervention: Intervention | None, multiplier: float) -> bool:
    """Whether the model runs as if there were no intervention."""
    return intervention is None or (multiplier == 0 and intervention.strength != "ignored")


def _is_durable(intervention: Intervention | None) -> bool:
    return intervention is None or intervention.durable


def _halves(batch: list[Bundle]) -> list[list[Bundle]]:
    """The batch in two parts: by bundles, else by multipliers; nothing if it cannot be divided."""
    if len(batch) > 1:
        return [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    multipliers = batch[0].multipliers
    if len(multipliers) > 1:
        middle = len(multipliers) // 2
        return [[batch[0].at(multipliers[:middle])], [batch[0].at(multipliers[middle:])]]
    return []


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _sheet_length(bundle: Bundle, path: Path) -> int:
    if path == "plain":
        return max(len(probe.ids) for probe in bundle.probes)
    if path == "shared depth":
        return bundle.tokens
    return bundle.trunk + len(bundle.multipliers) * (bundle.tokens - bundle.trunk)


def _attention_reach(model: Model) -> float:
    """How far back every layer of the model can see: infinite, or the narrowest window or chunk of its configuration."""
    config = model.hf.config.get_text_config(decoder=True)
    names = ("sliding_window", "attention_window_size", "attention_chunk_size", "window_size")
    sizes = [getattr(config, name, None) for name in names]
    return min((float(size) for size in sizes if isinstance(size, int) and size > 0), default=float("inf"))


def _head_counts(model: Model) -> tuple[int, ...]:
    """Numbers of attention heads: arguments with one entry per head (ALiBi) are no batched ones."""
    config = model.hf.config.get_text_config(decoder=True)
    counts = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads", "num_kv_heads"))
    return tuple(count for count in counts if isinstance(count, int))


@contextmanager
def _reading_only(head: Any, rows: torch.Tensor, positions: torch.Tensor) -> Iterator[None]:
    """Lets the unembedding see only some positions; what a model does to its logits afterwards is untouched."""

    def pick(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][rows, positions][None], *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def _split(rows: list[Row], logits: torch.Tensor) -> list[tuple[Row, Scores]]:
    scores: list[tuple[Row, Scores]] = []
    start = 0
    for row in rows:
        probe, part = row.probe, logits[start : start + len(row.probe.reads)]
        start += len(probe.reads)
        if probe.candidates is not None:
            found = part[0, torch.tensor(probe.candidates, device=part.device)]
        else:
            targets = torch.tensor(probe.ids[probe.score_from :], device=part.device)
            found = part.gather(1, targets[:, None])[:, 0] - part.logsumexp(1)
        scores.append((row, found.double().cpu().numpy()))
    return scores
