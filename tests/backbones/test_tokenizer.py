"""Tokenizers from our files and from others', against the published networks written out, and what is refused."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones import create_backbone, load_tokenizer
from densessl.backbones.dvae import Decoder, map_pixels, unmap_pixels
from densessl.backbones.tokenizer import DiscreteVAE, tokenizer_files
from densessl.errors import UserError

from .conftest import disturb

WIDTH, WORDS, START = 8, 40, 12


def layer(inputs: int, outputs: int, kernel: int) -> nn.Module:
    """A convolution as DALL-E's files have it: weight `w`, bias `b`."""
    made = sys.modules["dall_e.utils"].Conv2d()
    made.w = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * (inputs * kernel**2) ** -0.5)
    made.b = nn.Parameter(torch.randn(outputs) * 0.1)
    made.use_float16, made.device = True, torch.device("cpu")
    return made


def block(kind: type, inputs: int, outputs: int, kernels: tuple[int, ...]) -> nn.Module:
    made = kind()
    made.id_path = layer(inputs, outputs, 1) if inputs != outputs else nn.Identity()
    widths = (inputs, *[outputs // 4] * 3, outputs)
    made.res_path = nn.Sequential()
    for number, kernel in enumerate(kernels, 1):
        made.res_path.add_module(f"relu_{number}", nn.ReLU())
        made.res_path.add_module(f"conv_{number}", layer(widths[number - 1], widths[number], kernel))
    return made


def network(kind: type, block_kind: type, first, widths, kernels, last, between: nn.Module) -> nn.Module:
    made = kind()
    made.blocks = nn.Sequential()
    made.blocks.add_module("input", first)
    inputs = first.b.numel()
    for number, width in enumerate(widths, 1):
        group = nn.Sequential()
        for place in (1, 2):
            group.add_module(f"block_{place}", block(block_kind, inputs, width, kernels))
            inputs = width
        if number < len(widths):
            group.add_module("pool" if isinstance(between, nn.MaxPool2d) else "upsample", between)
        made.blocks.add_module(f"group_{number}", group)
    output = nn.Sequential()
    output.add_module("relu", nn.ReLU())
    output.add_module("conv", last)
    made.blocks.add_module("output", output)
    return made


@pytest.fixture
def dall_e(monkeypatch):
    """Modules and classes of the names in DALL-E's files, which do nothing; gone when the files are read."""
    names = {"encoder": ("Encoder", "EncoderBlock"), "decoder": ("Decoder", "DecoderBlock"), "utils": ("Conv2d",)}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dall_e", ModuleType("dall_e"))
        for module, classes in names.items():
            made = ModuleType(f"dall_e.{module}")
            for name in classes:
                setattr(made, name, type(name, (nn.Module,), {"__module__": made.__name__}))
            patch.setitem(sys.modules, made.__name__, made)
        yield sys.modules


def published(modules) -> tuple[nn.Module, nn.Module]:
    encoder, decoder = modules["dall_e.encoder"], modules["dall_e.decoder"]
    up = [WIDTH * factor for factor in (1, 2, 4, 8)]
    first, last = layer(3, WIDTH, 7), layer(8 * WIDTH, WORDS, 1)
    one = network(encoder.Encoder, encoder.EncoderBlock, first, up, (3, 3, 3, 1), last, nn.MaxPool2d(2))
    one.vocab_size, one.group_count = WORDS, 4
    first, last = layer(WORDS, START, 1), layer(WIDTH, 6, 1)
    two = network(
        decoder.Decoder, decoder.DecoderBlock, first, up[::-1], (1, 3, 3, 3), last, nn.Upsample(scale_factor=2)
    )
    return one, two


def run(state: dict[str, Tensor], x: Tensor, groups: int, between) -> Tensor:
    """DALL-E's encoder or decoder, written out over the names of its tensors."""

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.w"]
        return F.conv2d(x, weight, state[f"{name}.b"], padding=(weight.shape[-1] - 1) // 2)

    x = conv(x, "blocks.input")
    for group in range(1, groups + 1):
        for place in (1, 2):
            name = f"blocks.group_{group}.block_{place}"
            branch = x
            for number in (1, 2, 3, 4):
                branch = conv(F.relu(branch), f"{name}.res_path.conv_{number}")
            x = (conv(x, f"{name}.id_path") if f"{name}.id_path.w" in state else x) + branch / (2 * groups) ** 2
        x = between(x) if group < groups else x
    return conv(F.relu(x), "blocks.output.conv")


def test_dall_es_files_are_read_without_their_code(dall_e, tmp_path, monkeypatch):
    encoder, decoder = published(dall_e)
    torch.save(encoder, tmp_path / "encoder.pkl")
    torch.save(decoder, tmp_path / "decoder.pkl")
    for name in ("dall_e", "dall_e.encoder", "dall_e.decoder", "dall_e.utils"):
        monkeypatch.delitem(sys.modules, name)
    tokenizer = load_tokenizer(tmp_path / "encoder.pkl")
    assert "dall_e" not in sys.modules
    assert (tokenizer.vocabulary, tokenizer.stride, tokenizer.decodes) == (WORDS, 8, True)
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters()) and not tokenizer.training
    images = torch.rand(2, 3, 32, 48)
    logits = run(encoder.state_dict(), 0.8 * images + 0.1, 4, lambda x: F.max_pool2d(x, 2))
    torch.testing.assert_close(tokenizer.logits(images), logits, rtol=1e-4, atol=1e-5)
    tokens = tokenizer.tokens(images)
    assert tokens.dtype == torch.int64 and torch.equal(tokens, logits.argmax(1))
    one_hot = F.one_hot(tokens, WORDS).permute(0, 3, 1, 2).float()
    found = run(decoder.state_dict(), one_hot, 4, lambda x: F.interpolate(x, scale_factor=2))
    expected = ((found[:, :3].sigmoid() - 0.1) / 0.8).clamp(0, 1)
    torch.testing.assert_close(tokenizer.decode(tokens), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(load_tokenizer(tmp_path).tokens(images), tokens)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_module_in_the_format_before_2020_is_refused(dall_e, tmp_path):
    """torch's restricted unpickler takes none."""
    torch.save(published(dall_e)[0], tmp_path / "encoder.pkl", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="not unpickled"):
        load_tokenizer(tmp_path)


def test_dall_es_encoder_alone_has_no_pictures(dall_e, tmp_path):
    encoder, decoder = published(dall_e)
    torch.save(encoder.state_dict(), tmp_path / "encoder.pkl")
    tokenizer = load_tokenizer(tmp_path / "encoder.pkl")
    assert not tokenizer.decodes
    with pytest.raises(ValueError, match="without a decoder"):
        tokenizer.decode(torch.zeros(1, 2, 2, dtype=torch.int64))
    torch.save(decoder, tmp_path / "other.pkl")
    with pytest.raises(UserError, match="decoder.*give its encoder.pkl"):
        load_tokenizer(tmp_path / "other.pkl")


def test_a_file_with_code_is_refused_and_its_code_is_not_run(dall_e, tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    encoder, _ = published(dall_e)
    encoder.more = Trap()
    torch.save(encoder, tmp_path / "encoder.pkl")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="not unpickled"):
        load_tokenizer(tmp_path / "encoder.pkl")
    with pytest.raises(UserError, match="no checkpoint|cannot be read|not unpickled"):
        load_tokenizer(tmp_path / "plain.pkl")
    assert not (tmp_path / "ran").exists()


def beit_state(layers: int = 3, hidden: int = 6, words: int = 20, code: int = 10) -> dict[str, Tensor]:
    """Tensors under the names of BEiT's own discrete VAE."""
    shapes: dict[str, tuple[int, ...]] = {"codebook.weight": (words, code)}

    def add(name: str, *shape: int, bias: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (bias,)

    for at in range(layers):
        add(f"encoder.{2 * at}.0", hidden, hidden if at else 3, 4, 4, bias=hidden)
        add(f"decoder.{2 * at}.0", hidden if at else code, hidden, 4, 4, bias=hidden)
        for part in ("encoder", "decoder"):
            add(f"{part}.{2 * at + 1}.net.0", hidden, hidden, 3, 3, bias=hidden)
            add(f"{part}.{2 * at + 1}.net.2", hidden, hidden, 3, 3, bias=hidden)
            add(f"{part}.{2 * at + 1}.net.4", hidden, hidden, 1, 1, bias=hidden)
    add(f"encoder.{2 * layers}", words, hidden, 1, 1, bias=words)
    add(f"decoder.{2 * layers}", 3, hidden, 1, 1, bias=3)
    return {name: torch.randn(shape) * 0.2 for name, shape in shapes.items()}


@pytest.mark.parametrize("wrapped", [False, True])
def test_beits_own_vae_wants_pixels_from_minus_one_to_one(tmp_path, wrapped):
    state = beit_state()
    torch.save({"weights": state} if wrapped else state, tmp_path / "pytorch_model.bin")
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocabulary, tokenizer.stride) == (20, 8)
    images = torch.rand(2, 3, 16, 24)

    def conv(x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    def residual(x: Tensor, name: str) -> Tensor:
        inside = F.relu(conv(F.relu(conv(x, f"{name}.0", padding=1)), f"{name}.2", padding=1))
        return x + conv(inside, f"{name}.4")

    x = (images - 0.5) / 0.5
    for at in range(3):
        x = residual(F.relu(conv(x, f"encoder.{2 * at}.0", stride=2, padding=1)), f"encoder.{2 * at + 1}.net")
    tokens = conv(x, "encoder.6").argmax(1)
    assert torch.equal(tokenizer.tokens(images), tokens)
    x = F.embedding(tokens, state["codebook.weight"]).permute(0, 3, 1, 2)
    for at in range(3):
        name = f"decoder.{2 * at}.0"
        x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)
        x = residual(F.relu(x), f"decoder.{2 * at + 1}.net")
    torch.testing.assert_close(tokenizer.decode(tokens), (0.5 * conv(x, "decoder.6") + 0.5).clamp(0, 1))


def ours(reconstruction: str = "logit_laplace", network: str = "dvae_encoder", **options: object) -> DiscreteVAE:
    backbone = create_backbone(network, 32, options or {"width": 8, "groups": 3, "blocks": 1})
    decoder = Decoder(WORDS, backbone.stride, 6 if reconstruction == "logit_laplace" else 3, 8, 1, START)
    return disturb(DiscreteVAE(backbone, WORDS, decoder, reconstruction)).eval()


@pytest.mark.parametrize(
    ("reconstruction", "network", "options"),
    [
        ("logit_laplace", "dvae_encoder", {}),
        ("l2", "resnet18", {"channels": [8, 16, 24, 32]}),
        ("l1", "vit_tiny_patch16_224", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
    ],
)
def test_a_tokenizer_of_ours_reads_as_it_was_written(tmp_path, reconstruction, network, options):
    vae = ours(reconstruction, network, **options)
    for name, data in tokenizer_files(vae).items():
        (tmp_path / name).write_bytes(data)
    images = torch.rand(2, 3, 32, 32)
    for spec in (tmp_path, tmp_path / "tokenizer.safetensors"):
        again = load_tokenizer(spec)
        assert torch.equal(again.logits(images), vae.logits(images))
        tokens = again.tokens(images)
        assert tokens.shape == (2, 32 // vae.stride, 32 // vae.stride)
        assert torch.equal(again.decode(tokens), vae.decode(tokens))
        assert again.decode(tokens).shape == images.shape
        assert again.decode(tokens).min() >= 0 and again.decode(tokens).max() <= 1
    # The file says all by itself.
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.safetensors").rename(tmp_path / "alone.safetensors")
    assert torch.equal(load_tokenizer(tmp_path / "alone.safetensors").logits(images), vae.logits(images))


def test_a_decoder_gives_for_tokens_what_it_gives_for_their_one_hot_maps():
    decoder = disturb(Decoder(WORDS, 4, 6, 8, 2, START))
    tokens = torch.randint(WORDS, (2, 3, 5))
    found = decoder(F.one_hot(tokens, WORDS).permute(0, 3, 1, 2).float())
    assert found.shape == (2, 6, 12, 20)
    torch.testing.assert_close(decoder.of_tokens(tokens), found)
    with pytest.raises(ValueError, match="14 is no power of 2"):
        Decoder(WORDS, 14, 6)


def test_pixels_are_mapped_for_the_paper_s_encoder_by_its_own_mean_and_deviation():
    backbone = create_backbone("dvae_encoder", 32, {"width": 8})
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(backbone.normalise(images), map_pixels(images / 255))
    assert torch.equal(backbone.pixels(backbone.normalise(images)), images)
    torch.testing.assert_close(unmap_pixels(map_pixels(images / 255)), images / 255)
    assert float(map_pixels(torch.zeros(()))) == pytest.approx(0.1)
    assert float(map_pixels(torch.ones(()))) == pytest.approx(0.9)


def test_tokens_are_decided_in_float32_under_autocast():
    vae, images = ours(), torch.rand(4, 3, 32, 32)
    expected = vae.tokens(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(vae.tokens(images.bfloat16().float()), vae.tokens(images.bfloat16()))
        assert torch.equal(vae.tokens(images), expected)


def test_a_size_that_the_stride_does_not_divide_is_named():
    with pytest.raises(ValueError, match="4 x 4 pixels, which 30 x 32"):
        ours().tokens(torch.rand(1, 3, 30, 32))


def test_what_is_no_tokenizer_is_told(tmp_path):
    from safetensors.torch import save_file

    from densessl.backbones import save_backbone

    backbone = create_backbone("dvae_encoder", 32, {"width": 8})
    save_backbone(backbone, tmp_path / "run", {})
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    torch.save({"encoder.0.0.weight": torch.ones(2)}, tmp_path / "b.pth")
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    sentences = {
        "nowhere": "There is no tokenizer",
        "run": "holds no tokenizer",
        "half": "let it end",
        "a.safetensors": "no tokenizer that densessl pretrain dvae wrote",
        "run/backbone.safetensors": "no tokenizer that densessl pretrain dvae wrote",
        "a.pth": "neither those of DALL-E's encoder",
        "b.pth": "lacks codebook.weight",
    }
    for name, words in sentences.items():
        with pytest.raises(UserError, match=words) as caught:
            load_tokenizer(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    data = tokenizer_files(ours())["tokenizer.safetensors"]
    (tmp_path / "tokenizer.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        load_tokenizer(tmp_path)
