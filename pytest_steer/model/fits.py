"""Check that an intervention fits a model: layers, width, and the model and chat template that it was made on."""

from __future__ import annotations

from ..errors import VectorError
from ..steering import Intervention, check_depth
from .loaded import Model
from .sites import site_width
from .structure import check_layer


def check_fits(model: Model, intervention: Intervention, allow_mismatch: tuple[str, ...] = ()) -> None:
    """Refuse an intervention that was not made for this model.

    Args:
        allow_mismatch: ``model`` accepts a vector made on another model, ``template`` one made under another
            chat template. Width and layers have to fit always.

    Raises:
        VectorError: layers out of range, a stack whose rows are not the model's blocks, another width, another model, or another
            template.
        ModelError: the model has no such site inside of its blocks as far as can be told, or see ``check_layer``.
    """
    check_depth(intervention.metadata, model.n_layers, model.id)
    missing = [layer for layer in intervention.layers if layer >= model.n_layers]
    if missing:
        raise VectorError(
            f"the intervention acts on layer {missing[0]}, but {model.id} has {model.n_layers} decoder blocks "
            f"(0 to {model.n_layers - 1})"
        )
    for layer in intervention.layers:
        check_layer(model, layer)
        width = site_width(model, layer, intervention.site)
        if intervention.width not in (None, width):
            site = f"at layer {layer} the site {intervention.site!r} of " if intervention.site != "block" else ""
            raise VectorError(f"the vector has width {intervention.width}, but {site}{model.id} has width {width}")
    record = intervention.metadata
    other = mismatches(model, intervention)
    made_on = record.get("model_fingerprint")
    if "model" in other and "model" not in allow_mismatch:
        raise VectorError(
            f"the vector was made on another model ({record.get('model')}, fingerprint {str(made_on)[:12]}) than the one "
            f"under test ({model.id}, fingerprint {model.fingerprint[:12]}). Extract it again on this model, or accept it "
            "knowingly: allow_mismatch: [model]"
        )
    template = record.get("template_hash")
    if "template" in other and "template" not in allow_mismatch:
        raise VectorError(
            f"the vector was made under another chat template (hash {str(template)[:12]}) than the one of {model.id} "
            f"(hash {model.template_hash[:12]}). Extract it again under this template, or accept it knowingly: "
            "allow_mismatch: [template]"
        )


def mismatches(model: Model, intervention: Intervention) -> tuple[str, ...]:
    """What an intervention was made with that is not the model's: ``model``, ``template``."""
    made = {
        what: intervention.metadata.get(key) for what, key in (("model", "model_fingerprint"), ("template", "template_hash"))
    }
    # A fingerprint takes seconds, so it is taken where there is another to compare it with.
    own = {"model": lambda: model.fingerprint, "template": lambda: model.template_hash}
    return tuple(what for what, value in made.items() if value is not None and value != own[what]())


def mismatch_warnings(model: Model, intervention: Intervention) -> list[str]:
    """Warnings about what ``allow_mismatch`` has accepted, of an intervention that ``check_fits`` has let through."""
    made_on = intervention.metadata.get("model")
    words = {"model": f"on the model {made_on}, not on {model.id}", "template": "under another chat template"}
    found = [words[what] for what in mismatches(model, intervention)]
    return [f"allow_mismatch accepted a vector that was made {' and '.join(found)}"] if found else []
