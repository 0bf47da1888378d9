"""The tokenizer of BEiT: the discrete VAE of DALL-E (Ramesh et al., arXiv 2102.12092, section 2.1 and appendix A).

    L = E_{z ~ q(z | x)}[-ln p(x | z)] / (3 H W)  +  beta KL(q(z | x) || uniform) / (3 H W)

with a categorical q over K tokens at each of h x w places, relaxed: z = softmax((logits + g) / tau) with Gumbel noise
g, in the forward pass too. p is logit-Laplace: the decoder states mu and ln b of each value of the mapped pixels
(1 - 2 e) x + e, e = 0.1. The KL is summed over places, so that per value it weighs beta / (3 stride^2): 6.6 / 192.

Defaults are the paper's (appendix A.2): K 8192; tau from 1 to 1/16 over 150,000 steps and beta from 0 to 6.6 over
5,000, both along half a cosine; weights averaged over steps with 0.999, which are what the run exports; crops of the
middle sizes of the picture, flips, no colours changed. The encoder is the run's backbone with a 1x1 convolution on its
last map, and `backbone: dvae_encoder` is the paper's; the decoder mirrors it. The run's folder gets
tokenizer.safetensors, which `beit.tokenizer=FOLDER` takes.
Where we differ: any backbone whose stride is a power of 2 can be the encoder; the ramps of tau and beta take at most
0.5 and 0.1 of the run, so that short runs reach their ends; the average starts faster, by (1 + step) / (10 + step);
the squared and the absolute error can stand in for logit-Laplace, as in BEiT's own code. Pages are mostly white, and on
them all places have one token within a hundred steps: `spread_start` lets tokens begin as what in the first batch is
most unlike, and `encoder_rate` lets the decoder learn what they mean before the encoder moves them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densessl.backbones.dvae import EPSILON, Decoder, map_pixels
from densessl.backbones.tokenizer import RECONSTRUCTIONS, DiscreteVAE, tokenizer_files
from densessl.data.views import ViewSpec
from densessl.distributed import from_first, gather, mean_over_processes, rank, world_size
from densessl.errors import above_0, at_least, require
from densessl.losses import kl_to_uniform, logit_laplace
from densessl.methods.parts import cosine_ramp, momentum_copy, move_towards
from densessl.methods.registry import Output, Progress, Sheet, register
from densessl.methods.sheets import arrays, token_colours

POINTS, APART = 4, 4.0  # places of the first batch for each token, and nats between neighbours, of `spread_start`
FAINT = 0.1  # of the usual weights of the decoder's last layer, with which it begins then
RECENT = 0.05  # weight of a batch in the shares of the tokens
LONGEST_ANNEALING, LONGEST_WARMUP = 0.5, 0.1  # shares of the run


def _view() -> ViewSpec:
    # A square of the image's short side, brought to 9/8 to 12/8 of the view's size, and a view cut out (listing 1).
    still = {"jitter": 0.0, "grey": 0.0, "blur": 0.0}
    return ViewSpec(scale=((8 / 12) ** 2, (8 / 9) ** 2), ratio=(1.0, 1.0), **still)


@dataclass(frozen=True)
class DVAEConfig:
    vocabulary: int = 8192  # K, tokens
    reconstruction: str = "logit_laplace"  # or l2, l1: the mean squared or absolute error of the pixels
    temperature: float = 1 / 16  # tau at the end
    temperature_start: float = 1.0  # tau at the start
    annealing_steps: int = 150_000  # over which tau falls
    kl_weight: float = 6.6  # beta at the end
    kl_warmup_steps: int = 5_000  # over which beta rises from 0
    average: float = 0.999  # weight of the past in the average of the weights; 0 exports the last ones
    spread_start: bool = False  # tokens begin as centres that k-means++ draws from the maps of the first batch
    encoder_rate: float = 1.0  # the encoder's learning rate, by that of the decoder
    straight_through: bool = False  # one token at each place in the forward pass, the relaxation's gradient
    width: int = 256  # of the decoder's last group, before the pixels; 8 times that where it begins
    blocks: int = 2  # residual blocks of a group of the decoder
    bottleneck: int = 128  # channels that the decoder brings the vocabulary down to
    view: ViewSpec = field(default_factory=_view)

    def __post_init__(self) -> None:
        at_least(2, "dvae", self, "vocabulary")
        known = ", ".join(RECONSTRUCTIONS)
        require(
            self.reconstruction in RECONSTRUCTIONS, f"dvae.reconstruction={self.reconstruction} is not one of: {known}."
        )
        above_0("dvae", self, "temperature", "temperature_start")
        at_least(0, "dvae", self, "annealing_steps", "kl_warmup_steps", "kl_weight", "encoder_rate")
        require(0 <= self.average < 1, f"dvae.average={self.average} must be from 0 to below 1.")
        require(self.width >= 4 and self.width % 4 == 0, f"dvae.width={self.width} must be a multiple of 4.")
        at_least(1, "dvae", self, "blocks", "bottleneck")
        require(self.view.count == 1, f"dvae.view.count={self.view.count}, but the tokenizer sees 1 view.")


@register(
    "dvae",
    config=DVAEConfig,
    title="Zero-Shot Text-to-Image Generation",
    arxiv="2102.12092",
    year=2021,
    published="none of its own; BEiT's 83.2 % stand on its 8192 tokens",
)
class DVAE(nn.Module):
    sync_batch_norm = True

    def __init__(self, backbone: nn.Module, config: DVAEConfig, data_size: int) -> None:
        super().__init__()
        self.config = config
        stride = backbone.stride
        require(
            stride & (stride - 1) == 0,
            f"The decoder doubles its map step by step, and the stride of {backbone.architecture}, {stride}, is no "
            "power of 2: give backbone=dvae_encoder.",
        )
        outputs = 6 if config.reconstruction == "logit_laplace" else 3
        decoder = Decoder(config.vocabulary, stride, outputs, config.width, config.blocks, config.bottleneck)
        self.vae = DiscreteVAE(backbone, config.vocabulary, decoder, config.reconstruction)
        self.average = momentum_copy(self.vae)
        self.register_buffer("shares", torch.zeros(config.vocabulary))  # of the tokens, over the last batches
        self.temperature, self.kl_weight = config.temperature_start, 0.0
        self.starting = False

    @property
    def backbone(self) -> nn.Module:
        return self.average.backbone

    def parameter_groups(self) -> list[dict]:
        slow = [*self.vae.backbone.parameters(), *self.vae.head.parameters()]
        return [
            {"params": slow, "lr_scale": self.config.encoder_rate},
            {"params": self.vae.decoder.parameters()},
        ]

    @property
    def views(self) -> list[ViewSpec]:
        return [self.config.view]

    def chance(self, batch_size: int) -> float:
        """Values spread evenly over [0, 1], of which the decoder knows nothing: mu = 0 and b = 1, or mid-grey.

        Photographs are less spread than that, and lie below it from the start by some tenths.
        """
        low, high = 0.5, 1 - EPSILON
        # With mu = 0 and b = 1 a mapped value x costs ln 2 + 2 ln max(x, 1 - x); its mean over the upper half.
        mean = (high * log(high) - high - low * log(low) + low) / (high - low)
        return {"logit_laplace": log(2) + 2 * mean, "l2": 1 / 12, "l1": 0.25}[self.config.reconstruction]

    def before_step(self, progress: Progress) -> None:
        config = self.config
        self.starting = config.spread_start and progress.step == 0
        annealed = _share(progress, config.annealing_steps, LONGEST_ANNEALING)
        self.temperature = cosine_ramp(config.temperature_start, config.temperature, annealed)
        self.kl_weight = cosine_ramp(0.0, config.kl_weight, _share(progress, config.kl_warmup_steps, LONGEST_WARMUP))

    def forward(self, batch: dict) -> Output:
        (view,) = batch["views"]
        if self.starting:
            self.start(view)
        features, logits = self.vae.encode(view)  # (B, C, h, w), (B, K, h, w)
        with torch.autocast(view.device.type, enabled=False):
            z = ((logits + gumbel(logits)) / self.temperature).softmax(1)
        shares = shares_of(logits.detach().argmax(1), self.config.vocabulary)
        self.shares.lerp_(shares.to(self.shares.dtype), RECENT)
        if self.config.straight_through:
            chosen = torch.zeros_like(z).scatter_(1, z.argmax(1, keepdim=True), 1.0)
            z = chosen + z - z.detach()
        reconstruction = self.error(self.vae.decoder(z), self.vae.backbone.pixels(view))
        kl = kl_to_uniform(logits)
        loss = reconstruction + self.kl_weight / (3 * self.vae.stride**2) * kl
        metrics = {
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
            "codebook_perplexity": perplexity(shares),
            "temperature": torch.tensor(self.temperature),
            "kl_weight": torch.tensor(self.kl_weight),
        }
        return Output(loss, metrics, embedding=features.detach().mean((2, 3)))

    @torch.no_grad()
    def start(self, view: Tensor) -> None:
        """Let tokens begin as centres of the encoder's map of these images, and the decoder with their mean colour.

        The logit of a centre c at a feature f is s (f c - c^2 / 2), which falls with the square of their distance; s is
        such that centres lie `APART` nats from the one next to them: noise seldom takes one for another.
        """
        self.starting = False
        maps = self.vae.encode(view)[0].flatten(2)  # (B, C, h w)
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        wanted = -(-POINTS * self.config.vocabulary // (len(maps) * world_size()))
        places = from_first(torch.randperm(maps.shape[2])[:wanted]).to(maps.device)
        points = gather(maps[:, :, places].transpose(1, 2)).flatten(0, 1)  # (N, C)
        chosen = centres(points, self.config.vocabulary)
        nearest = torch.cdist(chosen, chosen).fill_diagonal_(torch.inf).amin(1).square()
        scale = 2 * APART / nearest.mean().clamp_min(torch.finfo(nearest.dtype).tiny)
        for vae in (self.vae, self.average):
            vae.head.weight.copy_(scale * chosen[:, :, None, None])
            vae.head.bias.copy_(-scale / 2 * chosen.square().sum(1))
            vae.decoder.output.weight.mul_(FAINT)
            if self.config.reconstruction != "logit_laplace":
                pixels = self.vae.backbone.pixels(view).float() / 255
                vae.decoder.output.bias.copy_(mean_over_processes(pixels.mean((0, 2, 3))))

    def error(self, decoded: Tensor, pixels: Tensor) -> Tensor:
        """What the decoder said, against the pixels (B, 3, H, W) uint8."""
        images = pixels.to(torch.promote_types(decoded.dtype, torch.float32)) / 255
        if self.config.reconstruction == "logit_laplace":
            mean, log_scale = decoded.chunk(2, dim=1)
            return logit_laplace(mean, log_scale, map_pixels(images))
        measure = F.mse_loss if self.config.reconstruction == "l2" else F.l1_loss
        return measure(decoded.to(images.dtype), images)

    def after_step(self, progress: Progress) -> None:
        momentum = min(self.config.average, (1 + progress.step) / (10 + progress.step))
        move_towards(self.average, self.vae, momentum)
        # The average sees no images of its own, so the statistics of a batch norm are those of the network that does.
        for ours, theirs in zip(self.average.buffers(), self.vae.buffers(), strict=True):
            ours.copy_(theirs)

    def files(self) -> dict[str, bytes]:
        self.average.perplexity = float(perplexity(F.normalize(self.shares, p=1, dim=0)))
        return tokenizer_files(self.average)

    @property
    def remarks(self) -> list[str]:
        self.average.perplexity = float(perplexity(F.normalize(self.shares, p=1, dim=0)))
        return self.average.doubts("This tokenizer")

    def pictures(self, batch: dict, thumbnail: object) -> dict[str, Sheet]:
        """Images, what is left of them in their tokens, and the tokens as colours."""
        pixels = self.backbone.pixels(batch["views"][0])
        tokens = self.average.tokens(pixels.float() / 255)
        decoded = (255 * self.average.decode(tokens)).round().to(torch.uint8)
        rows = [arrays(pixels), arrays(decoded), token_colours(tokens, self.vae.stride)]
        used = len(tokens.unique())
        labels = ["images", "from their tokens", f"{used} of {self.config.vocabulary} tokens"]
        return {"reconstructions": Sheet(rows, labels=labels)}


def gumbel(logits: Tensor) -> Tensor:
    """Gumbel noise (B, ...) for logits of that shape; an image's hangs on its place among those of all processes."""
    noise = torch.empty_like(logits, memory_format=torch.contiguous_format)
    generator = torch.Generator(logits.device)
    first = int(from_first(torch.randint(2**31, ()))) + rank() * len(noise)
    for place, image in enumerate(noise, start=first):
        image.exponential_(generator=generator.manual_seed(place))
    return noise.clamp_min_(torch.finfo(noise.dtype).tiny).log_().neg_()


def centres(points: Tensor, count: int) -> Tensor:
    """`count` of the points (N, C), each drawn by the square of its distance from those before (k-means++).

    Where points are fewer, or alike, some come more than once.
    """
    generator = torch.Generator().manual_seed(int(from_first(torch.randint(2**31, ()))))
    draws = torch.rand(count, generator=generator, dtype=torch.float64).to(points.device)
    chosen, distances = [points.mean(0)], torch.full((len(points),), torch.inf, device=points.device)
    for draw in draws[1:]:
        distances = torch.minimum(distances, (points - chosen[-1]).square().sum(1))
        total = distances.double().cumsum(0)
        chosen.append(points[torch.searchsorted(total, draw * total[-1]).clamp_max(len(points) - 1)])
    return torch.stack(chosen)


@torch.no_grad()
def shares_of(tokens: Tensor, vocabulary: int) -> Tensor:
    """(K,): how often each token comes among those of the batch of all processes, of 1."""
    counts = torch.zeros(vocabulary, device=tokens.device).index_add_(
        0, tokens.flatten(), torch.ones(tokens.numel(), device=tokens.device)
    )
    return mean_over_processes(counts / tokens.numel())


def perplexity(shares: Tensor) -> Tensor:
    """exp of the entropy: of how many tokens even use is made."""
    return torch.special.entr(shares).sum().exp()


def _share(progress: Progress, steps: int, longest: float) -> float:
    """How much of a ramp of so many steps is done, when it may take `longest` of the run."""
    length = min(steps, longest * progress.total_steps)
    return min(1.0, progress.step / length) if length > 0 else 1.0
