"""The whole model, the list of layers that it is made of, and its loss."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from model import GPT
from model.init import initialise
from model.layers import layers
from model.names import canonical_name


def test_the_list_of_layers_run_one_by_one_is_the_model(model: GPT) -> None:
    """What a pipeline does: build each layer once, tied ones by key, pass one tensor along."""
    config = model.config
    stack = layers(config)
    modules = {layer.owner: layer.build() for layer in stack}
    for owner, module in modules.items():
        initialise(((f"{owner}.{name}", p) for name, p in module.named_parameters()), config, seed=0)
        module.eval()

    tokens = torch.randint(config.vocab_size, (2, 9))
    x = tokens
    for layer in stack:
        module = modules[layer.owner]
        x = layer.forward(module, x) if layer.forward else module(x)
    assert torch.equal(x, model(tokens))


def test_a_model_is_its_parameters_alone(model: GPT) -> None:
    """Built without memory and filled by name, it is the same: no buffer is left unfilled."""
    with torch.device("meta"):
        empty = GPT(model.config)
    filled = empty.to_empty(device="cpu").eval()
    initialise(filled.named_parameters(), model.config, seed=0)
    tokens = torch.randint(61, (2, 9))
    assert torch.equal(filled(tokens), model(tokens))


def test_a_tied_head_is_the_embedding_matrix(make_model: Callable[..., GPT]) -> None:
    tied, untied = make_model(), make_model(tied=False)
    extra = set(dict(untied.named_parameters())) - set(dict(tied.named_parameters()))
    assert extra == {"head.weight"}
    (embedding,) = {layer.tied_to for layer in layers(tied.config) if layer.tied_to}
    assert embedding == "wte"


def test_the_tied_module_holds_nothing_but_its_weight(make_model: Callable[..., GPT]) -> None:
    wte = make_model().wte
    assert list(wte.state_dict()) == ["weight"]
    assert not list(wte.buffers())


def test_post_norm_ends_in_no_further_layer_norm(make_model: Callable[..., GPT]) -> None:
    names = dict(make_model(norm="post").named_parameters())
    assert "ln_f.weight" not in names
    assert "h.2.ln_2.weight" in names


def test_the_loss_is_the_same_with_and_without_padding(model: GPT) -> None:
    tokens = torch.randint(61, (2, 24))
    logits, targets = model(tokens[:, :-1]), tokens[:, 1:]
    assert logits.shape == (2, 23, 128)
    unpadded = F.cross_entropy(logits[..., :61].flatten(0, 1), targets.flatten())
    torch.testing.assert_close(F.cross_entropy(logits.flatten(0, 1), targets.flatten()), unpadded)
    torch.testing.assert_close(model(tokens[:, :-1], targets), unpadded)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_padding_has_no_share_and_no_gradient(make_model: Callable[..., GPT], dtype: torch.dtype) -> None:
    model = make_model().to(dtype)
    tokens = torch.randint(61, (2, 24))
    logits = model(tokens)
    assert logits.isfinite().all()
    assert (logits.float().softmax(-1)[..., 61:] == 0).all()
    (gradient,) = torch.autograd.grad(model(tokens, tokens), [model.get_parameter("wte.weight")])
    assert (gradient[61:] == 0).all()
    assert (gradient[:61] != 0).any()


def test_a_new_model_expects_every_token_alike(make_model: Callable[..., GPT]) -> None:
    model = make_model(init_std=0.02)
    tokens, targets = torch.randint(61, (2, 4, 24))
    assert model(tokens, targets).item() == pytest.approx(math.log(61), abs=0.05)


def test_more_tokens_than_the_context_are_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="25 tokens do not fit a context of 24"):
        model(torch.zeros(1, 25, dtype=torch.int64))


def test_a_pipelines_names_are_those_of_the_dense_model(model: GPT) -> None:
    engine_names = set()
    for place, layer in enumerate(layers(model.config)):
        prefix = f"tied_modules.{layer.tied_to}" if layer.tied_to else str(place)
        engine_names |= {f"{prefix}.{name}" for name, _ in layer.build().named_parameters()}
    translated = {canonical_name(name, model.config) for name in engine_names}
    assert translated == {name for name, _ in model.named_parameters()}
