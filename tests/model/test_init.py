"""Initial weights depend on the seed and the canonical name, and on nothing else."""

from dataclasses import replace

import torch

from model import GPT, GPTConfig
from model.init import initial_value, initialise

CONFIG = GPTConfig(n_layer=4, n_head=2, d_model=64, n_ctx=32, vocab_size=300)


def parameters(seed: int = 0) -> dict[str, torch.nn.Parameter]:
    model = GPT(CONFIG)
    initialise(model.named_parameters(), CONFIG, seed)
    return dict(model.named_parameters())


def test_any_layout_starts_from_the_same_weights() -> None:
    whole = parameters()
    model = GPT(CONFIG)
    stage = [(name, p) for name, p in model.named_parameters() if name.startswith(("h.2", "h.3", "wte"))]
    torch.manual_seed(7)  # no global state enters
    initialise(reversed(stage), CONFIG, seed=0)
    for name, parameter in stage:
        assert torch.equal(parameter, whole[name]), name


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(parameters(0)["h.0.mlp.fc.weight"], parameters(1)["h.0.mlp.fc.weight"])


def test_no_two_matrices_are_alike() -> None:
    matrices = [p for name, p in parameters().items() if name.endswith("attn.qkv.weight")]
    assert len({matrix[0, 0].item() for matrix in matrices}) == CONFIG.n_layer


def test_matrices_spread_as_the_papers_say() -> None:
    weights = parameters()
    expected = {
        "wte.weight": 0.02,
        "wpe.weight": 0.01,
        "h.0.attn.qkv.weight": 0.02,
        "h.0.mlp.fc.weight": 0.02,
        "h.0.attn.proj.weight": 0.02 / 8**0.5,  # four blocks add to the residual stream eight times
        "h.3.mlp.proj.weight": 0.02 / 8**0.5,
    }
    for name, std in expected.items():
        measured = weights[name][: CONFIG.vocab_size].std().item()
        assert abs(measured / std - 1) < 0.05, (name, measured)


def test_gpt1_scales_no_matrix_down() -> None:
    plain = replace(CONFIG, residual_scaling=False)
    value = initial_value("h.0.mlp.proj.weight", (64, 256), plain, seed=0)
    assert abs(value.std().item() / 0.02 - 1) < 0.05


def test_biases_are_zero_and_layer_norms_pass_through() -> None:
    for name, parameter in parameters().items():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "ln_" in name:
            assert (parameter == 1).all(), name


def test_padding_rows_are_zero_and_change_no_other_row() -> None:
    narrow = initial_value("wte.weight", (384, 64), CONFIG, seed=0)
    assert not narrow[300:].any()
    assert torch.equal(narrow, parameters()["wte.weight"])
    assert narrow[:300].any(dim=1).all()
