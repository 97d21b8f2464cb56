"""Ways of steering, written out by hand as a user would: a sound one, and one broken in each way that published hooks were.

Each is a function (model, directions, declared) -> apply, as ``assert_hooks_are_sound(model, apply=...)`` takes it.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch


def hidden_of(output):
    return output[0] if isinstance(output, (tuple, list)) else output


def with_hidden(output, hidden):
    return type(output)([hidden, *output[1:]]) if isinstance(output, (tuple, list)) else hidden


class Following:
    """Which positions of the running forward are steered: those of the batch, then every further token."""

    def __init__(self, batch):
        self.batch = batch

    def mask(self, hidden):
        rows, length = hidden.shape[:2]
        if length == 1 and self.batch.input_ids.shape[1] > 1:
            return torch.ones(rows, 1, dtype=torch.bool)
        return self.batch.steered


def hooking(model, layers, change, *, keep=False, pads=False):
    """apply(multiplier, batch): hooks that give ``change(hidden, layer, multiplier, mask)`` as the block's output."""

    @contextmanager
    def apply(multiplier, batch):
        following = Following(batch)

        def hook_for(layer):
            def hook(_module, _inputs, output):
                hidden = hidden_of(output)
                mask = following.mask(hidden)
                if pads and hidden.shape[1] > 1:
                    mask = mask | (batch.attention_mask == 0)
                return with_hidden(output, change(hidden, layer, multiplier, mask))

            return hook

        handles = [model.blocks[layer].register_forward_hook(hook_for(layer)) for layer in layers]
        try:
            yield
        finally:
            if not keep:
                [handle.remove() for handle in handles]

    return apply


def added(hidden, direction, multiplier, mask):
    return torch.where(mask[..., None], hidden + multiplier * direction, hidden)


def sound(model, directions, _):
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k], m, mask))


def sound_by_wrapping(model, directions, _):
    """Blocks are stood in for by modules of one's own, as some libraries do."""

    class Wrapped(torch.nn.Module):
        def __init__(self, block, steer):
            super().__init__()
            self.block, self.steer = block, steer

        def forward(self, *args, **kwargs):
            output = self.block(*args, **kwargs)
            return with_hidden(output, self.steer(hidden_of(output)))

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("block"), name)

    @contextmanager
    def apply(multiplier, batch):
        following, before = Following(batch), {k: model.blocks[k] for k in directions}
        for k, direction in directions.items():
            steer = lambda h, d=direction: added(h, d, multiplier, following.mask(h))  # noqa: E731
            model.blocks[k] = Wrapped(model.blocks[k], steer)
        try:
            yield
        finally:
            for k, block in before.items():
                model.blocks[k] = block

    return apply


def sound_on_the_next_input(model, directions, _):
    """What goes into the next block is what comes out of this one."""

    @contextmanager
    def apply(multiplier, batch):
        following, handles = Following(batch), []
        for k, direction in directions.items():

            def before(_module, args, kwargs, direction=direction):
                if args:
                    return (added(args[0], direction, multiplier, following.mask(args[0])), *args[1:]), kwargs
                hidden = kwargs["hidden_states"]
                return args, {**kwargs, "hidden_states": added(hidden, direction, multiplier, following.mask(hidden))}

            handles.append(model.blocks[k + 1].register_forward_pre_hook(before, with_kwargs=True))
        try:
            yield
        finally:
            [handle.remove() for handle in handles]

    return apply


# --- broken ----------------------------------------------------------------------------------------------------------------


def silent_unless_a_tuple(model, directions, _):
    """The commonest: a hook that waits for a tuple, on a model whose blocks return tensors."""

    @contextmanager
    def apply(multiplier):
        def hook(_module, _inputs, output):
            if isinstance(output, tuple):
                return (output[0] + multiplier * directions[1], *output[1:])
            return None

        handle = model.blocks[1].register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    return apply


def twice(model, directions, _):
    return hooking(model, directions, lambda h, k, m, mask: added(added(h, directions[k], m, mask), directions[k], m, mask))


def scaled_in_place(model, directions, _):
    """The dose is worked out in the vector's own memory."""
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k].mul_(m), 1.0, mask))


def prompt_only(model, directions, _):
    """A mask as long as the prompt, indexed from the current length: later tokens get nothing."""

    def change(hidden, k, m, mask):
        return hidden if hidden.shape[1] == 1 else added(hidden, directions[k], m, mask)

    return hooking(model, directions, change)


def pads_too(model, directions, _):
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k], m, mask), pads=True)


def next_layer(model, directions, _):
    """hidden_states[k] taken for the output of block k."""
    return hooking(model, [k + 1 for k in directions], lambda h, k, m, mask: added(h, directions[k - 1], m, mask))


def another_layer_too(model, directions, _):
    return hooking(model, [*directions, 2], lambda h, k, m, mask: added(h, directions[1], m, mask))


def hooks_left(model, directions, _):
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k], m, mask), keep=True)


def hooks_left_after_an_error(model, directions, _):
    """No try / finally."""

    @contextmanager
    def apply(multiplier, batch):
        following = Following(batch)

        def hook(_module, _inputs, output):
            hidden = hidden_of(output)
            return with_hidden(output, added(hidden, directions[1], multiplier, following.mask(hidden)))

        handle = model.blocks[1].register_forward_hook(hook)
        yield
        handle.remove()

    return apply


def swallows(model, directions, declared):
    inner = sound(model, directions, declared)

    class Quiet:
        def __init__(self, multiplier, batch):
            self.manager = inner(multiplier, batch)

        def __enter__(self):
            return self.manager.__enter__()

        def __exit__(self, *_):
            self.manager.__exit__(None, None, None)
            return True

    return lambda multiplier, batch: Quiet(multiplier, batch)


def never_off(model, directions, _):
    """``multiplier or 1.0``."""
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k], m or 1.0, mask))


def no_sign(model, directions, _):
    return hooking(model, directions, lambda h, k, m, mask: added(h, directions[k], abs(m), mask))


def mean_over_padding(model, directions, _):
    """A dose as large as the mean norm of the row's hidden states, those of padding among them."""

    def change(hidden, k, m, mask):
        return added(hidden, directions[k] * hidden.norm(dim=-1).mean(1)[:, None, None] / 10, m, mask)

    return hooking(model, directions, change)


def gate_of_the_first_row(model, directions, _):
    """Every row is steered by as much as the first row says."""

    def change(hidden, k, m, mask):
        return added(hidden, directions[k] * hidden[0, -1].abs().mean(), m, mask)

    return hooking(model, directions, change)


def columns_for_positions(model, directions, declared):
    """The mark is counted from the left edge of the batch, padding or not."""

    @contextmanager
    def apply(multiplier, batch):
        def hook(_module, _inputs, output):
            hidden = hidden_of(output)
            mask = torch.zeros(hidden.shape[:2], dtype=torch.bool)
            for row, start in enumerate(batch.starts):
                mask[row, 0 if hidden.shape[1] == 1 else start :] = True
            return with_hidden(output, added(hidden, directions[1], multiplier, mask))

        handle = model.blocks[1].register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    return apply


def first_position_too(model, directions, _):
    def change(hidden, k, m, mask):
        first = torch.zeros_like(mask)
        if hidden.shape[1] > 1:
            first = torch.cat([mask[:, 1:], mask[:, -1:]], 1) & ~mask
        return added(hidden, directions[k], m, mask | first)

    return hooking(model, directions, change)


def one_position_late(model, directions, _):
    def change(hidden, k, m, mask):
        late = mask if hidden.shape[1] == 1 else mask & torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1)
        return added(hidden, directions[k], m, late)

    return hooking(model, directions, change)


def bias_left(model, directions, declared):
    """Steering baked into a weight, and not taken out again."""

    @contextmanager
    def apply(multiplier, batch):
        with sound(model, directions, declared)(multiplier, batch):
            yield
        with torch.no_grad():
            next(model.blocks[1].parameters()).add_(1e-3)

    return apply


def bias_left_unseen(model, directions, declared):
    """The same, written in a way that torch does not count."""

    @contextmanager
    def apply(multiplier, batch):
        with sound(model, directions, declared)(multiplier, batch):
            yield
        next(model.blocks[1].parameters()).data.add_(1e-3)

    return apply


def wrapper_left(model, directions, declared):
    @contextmanager
    def apply(multiplier, batch):
        with sound(model, directions, declared)(multiplier, batch):
            yield
        model.blocks[1] = torch.nn.Sequential(model.blocks[1])

    return apply


def all_hooks_cleared(model, directions, declared):
    """Takes off its own hooks and everybody else's."""

    @contextmanager
    def apply(multiplier, batch):
        with sound(model, directions, declared)(multiplier, batch):
            yield
        for block in model.blocks:
            block._forward_hooks.clear()

    return apply


def evaluation_mode_lost(model, directions, declared):
    @contextmanager
    def apply(multiplier, batch):
        with sound(model, directions, declared)(multiplier, batch):
            yield
        model.hf.train()

    return apply


def fails(model, directions, _):
    def change(hidden, k, m, mask):
        raise ValueError("of my own")

    return hooking(model, directions, change)
