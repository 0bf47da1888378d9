"""Features are computed once, exactly, and never handed out stale."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from densessl.backbones import create_backbone
from densessl.errors import RunStopped, UserError
from densessl.segmentation.features import extractor as extracting
from densessl.segmentation.features import kept as features
from densessl.segmentation.features import transform
from densessl.segmentation.features.cache import GB, Cache
from densessl.segmentation.features.colour import ColourBackbone
from densessl.segmentation.features.extractor import Extractor, weights_hash
from densessl.segmentation.features.kept import extract, nearest_neighbours
from densessl.segmentation.features.tables import Holder, Table
from tests.segmentation.conftest import Arrays


def extractor(image_size: int = 64) -> Extractor:
    return Extractor(ColourBackbone(), image_size)


def cache(folder) -> Cache:
    return Cache(folder, GB)


def same(a, b) -> bool:
    return (
        a.indices == b.indices
        and a.shapes == b.shapes
        and all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a.arrays, b.arrays, strict=True))
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (64, 64)),
        ((100, 150), (64, 96)),
        ((360, 90), (256, 64)),
        ((5000, 50), (256, 8)),
        ((1, 1), (64, 64)),
    ],
)
def test_the_short_side_is_the_image_size_and_the_whole_picture_is_seen(size, expected):
    frame = transform.Frame(image_size=64, stride=8)
    assert frame.size(*size) == expected
    assert frame.show(np.zeros((*size, 3), dtype=np.uint8)).shape[:2] == expected


def test_threads_that_share_an_extractor_have_the_maps_of_one(scenes):
    torch.manual_seed(0)
    beit = create_backbone("beit_base_patch16_224", 64, {"embed_dim": 32, "depth": 2, "num_heads": 2})
    for name, weight in beit.named_parameters():
        if name.endswith("relative_position_bias_table"):
            torch.nn.init.normal_(weight)  # 0 otherwise, at any grid
    shared = Extractor(beit, 32)
    shown = [shared.frame.show(image) for image in scenes[0].images] * 12
    expected = [shared([image])[0] for image in shown]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda image: shared([image])[0], shown))
    assert len({each.shape for each in expected}) == 4
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_backbone_of_one_size_is_shown_all_of_every_picture_at_that_size():
    image = np.zeros((30, 90, 3), dtype=np.uint8)
    image[:, :45] = 200
    shown = transform.Frame(image_size=48, stride=8, fixed=(48, 48)).show(image)
    assert shown.shape == (48, 48, 3)
    assert (shown[:, :23] == 200).all() and (shown[:, 25:] == 0).all()


def test_the_colour_backbone_measures_means_in_its_windows():
    images = torch.randint(0, 256, (2, 3, 40, 48), dtype=torch.uint8)
    backbone = ColourBackbone()
    (map_,) = backbone.feature_maps(backbone.normalise(images))
    assert map_.shape == (2, 42, 5, 6)
    found = map_ * backbone.spread + backbone.mean
    cell = images[1, :, 8:16, 16:24].float().mean(dim=0) / 255
    assert found[1, 0, 1, 2] == pytest.approx(float(cell.mean()), abs=1e-5)
    assert found[1, 3, 1, 2] == pytest.approx(float(cell.std(correction=0)), abs=1e-4)
    assert found[1, 14, 2, 3] == pytest.approx(float(images[1, :, 8:32, 16:40].float().mean() / 255), abs=1e-5)
    torch.testing.assert_close(backbone(backbone.normalise(images)), map_.mean(dim=(2, 3)))
    with pytest.raises(ValueError, match="cells"):
        backbone.feature_maps(torch.zeros(1, 3, 40, 44))


def test_kept_features_equal_those_computed_directly_bit_by_bit(scenes, tmp_path):
    source, _ = scenes
    run = extractor()
    kept = extract(source, run, range(4))
    on_disk = extract(source, run, range(4), cache=cache(tmp_path))
    spilled = extract(source, run, range(4), spill=tmp_path, memory=20_000)
    assert [isinstance(each, Table) for each in spilled.arrays] == [False, True, True, True]
    assert all(isinstance(each, Table) for each in on_disk.arrays)
    assert same(kept, on_disk) and same(kept, spilled)
    for row in range(4):
        image = run.frame.show(source.images[row])
        with torch.no_grad():
            batch = run.backbone.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
            map_ = run.backbone.feature_maps(batch)[-1][0]
        assert kept.shapes[row] == tuple(map_.shape[1:])
        assert torch.equal(kept.tokens(row).T.reshape(map_.shape), map_)


def test_a_window_takes_the_mean_of_the_tokens_in_it_that_the_map_has(scenes):
    source, _ = scenes
    plain = extract(source, extractor(), range(2))
    found = extract(source, Extractor(ColourBackbone(), 64, window=5), range(2))
    for row, (h, w) in enumerate(plain.shapes):
        map_ = plain.tokens(row).double().unflatten(0, (h, w))
        slow = [map_[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean((0, 1)) for y in range(h) for x in range(w)]
        torch.testing.assert_close(found.tokens(row), torch.stack(slow).float())


def test_workers_do_not_change_the_features(scenes):
    source, _ = scenes
    assert same(extract(source, extractor(), range(4)), extract(source, extractor(), range(4), workers=2))


def test_the_spilled_file_has_no_name_that_could_be_left_behind(scenes, tmp_path):
    source, _ = scenes
    kept = extract(source, extractor(), range(4), spill=tmp_path, memory=0)
    assert list(tmp_path.iterdir()) == [] and len(kept) == 4


def test_what_the_cache_holds_is_held_nowhere_else(scenes, tmp_path, monkeypatch):
    """Memory for one part at most, and no spilled copy of any."""
    monkeypatch.setattr(features, "LEAST", 1)
    held = []
    plain = Holder.hold

    def hold(self, table):
        found = plain(self, table)
        held.append((self.held, 0 if self.file is None else self.file.seek(0, 2)))
        return found

    monkeypatch.setattr(Holder, "hold", hold)
    kept = extract(scenes[0], extractor(), range(4), cache=cache(tmp_path), memory=15_000)
    sizes = [np.asarray(each).nbytes for each in kept.arrays]
    assert held == [(size, 0) if size <= 15_000 else (0, size) for size in sizes]
    assert min(sizes) < 15_000 < max(sizes)
    assert same(kept, extract(scenes[0], extractor(), range(4)))


def test_a_cache_is_used_again_and_never_stale(scenes, tmp_path):
    source, _ = scenes
    extract(source, extractor(), range(4), cache=cache(tmp_path))
    source.reads.clear()
    extract(source, extractor(), range(4), cache=cache(tmp_path))
    assert source.reads == []
    other = extractor()
    other.backbone.spread[0, 0] = 1.0
    for changed in (other, extractor(image_size=72), Extractor(ColourBackbone(), 64, window=3)):
        found = extract(source, changed, range(4), cache=cache(tmp_path))
        assert same(found, extract(source, changed, range(4)))
        assert not same(found, extract(source, extractor(), range(4)))
    extract(source, extractor(), range(3), cache=cache(tmp_path))
    source.mark, source.images[0] = "changed", 255 - source.images[0]
    assert same(extract(source, extractor(), range(4), cache=cache(tmp_path)), extract(source, extractor(), range(4)))


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "flipped record", "other file", "gone"])
def test_a_damaged_cache_is_computed_anew(scenes, tmp_path, damage):
    source, _ = scenes
    good = extract(source, extractor(), range(4))
    extract(source, extractor(), range(4), cache=cache(tmp_path))
    (path,) = tmp_path.glob("*/*.bin")
    content = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "cut":
        os.truncate(path, len(content) // 2)
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "flipped record":
        path.write_bytes(content.replace(b"[0, 8,", b"[0, 9,"))
    elif damage == "other file":
        path.write_bytes(np.random.default_rng(0).bytes(len(content)))
    else:
        path.unlink()
    assert same(extract(source, extractor(), range(4), cache=cache(tmp_path)), good)
    assert path.read_bytes() == content


def test_an_interrupted_pass_leaves_no_half_written_file(scenes, tmp_path):
    source, _ = scenes

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(source, extractor(), range(4), cache=cache(tmp_path), advance=stop)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(extract(source, extractor(), range(4), cache=cache(tmp_path))) == 4


def test_what_a_killed_pass_had_done_is_not_done_again(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "LEAST", 2)
    source, done = scenes[0], []

    def stop(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(source, extractor(), range(4), cache=cache(tmp_path), advance=stop)
    source.reads.clear()
    again = extract(source, extractor(), range(4), cache=cache(tmp_path), advance=done.append)
    assert same(again, extract(Arrays(source.images), extractor(), range(4)))
    assert source.reads == [2, 3] and done == [2, 3, 4]


def test_unreadable_pictures_are_named_also_from_the_cache(scenes, tmp_path):
    source, _ = scenes
    source.images[1] = None
    for _ in range(2):
        kept = extract(source, extractor(), range(4), cache=cache(tmp_path))
        assert kept.indices == [0, 2, 3]
        assert kept.unreadable == [("001.jpg", "it is cut short")]


def test_a_picture_that_can_be_read_again_is_not_given_up(scenes, tmp_path):
    source, whole = scenes[0], Arrays(list(scenes[0].images))
    source.images[1] = None
    extract(source, extractor(), range(4), cache=cache(tmp_path))
    for _ in range(2):
        assert same(extract(whole, extractor(), range(4), cache=cache(tmp_path)), extract(whole, extractor(), range(4)))
    whole.reads.clear()
    extract(whole, extractor(), range(4), cache=cache(tmp_path))
    assert whole.reads == []


def test_a_folder_that_was_named_and_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        Cache.of(str(tmp_path / "file"), 1)


def test_features_that_are_not_finite_stop_the_run(scenes):
    run = extractor()
    run.backbone.mean[0, 3] = float("nan")
    with pytest.raises(RunStopped, match="000.jpg"):
        extract(scenes[0], run, range(4))


def test_the_hash_sees_every_bit_of_the_weights():
    a, b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    b.load_state_dict(a.state_dict())
    assert weights_hash(a) == weights_hash(b)
    b.bias.data[0] = torch.nextafter(b.bias.data[0], torch.tensor(9.0))
    assert weights_hash(a) != weights_hash(b)


def test_neighbours_are_the_most_alike_without_the_picture_itself_whatever_the_block():
    pooled = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    cosine = F.cosine_similarity(pooled[:, None], pooled[None], dim=2).fill_diagonal_(-2)
    slow = cosine.argsort(dim=1, descending=True)[:, :7]
    for block in (3, 20, 64):
        assert torch.equal(nearest_neighbours(pooled, 7, block), slow)
    assert nearest_neighbours(pooled[:3], 7).shape == (3, 2)
    assert nearest_neighbours(pooled[:1], 7).shape == (1, 0)


def test_features_of_other_code_have_another_key(monkeypatch):
    before = extractor().key()
    monkeypatch.setattr(extracting, "VERSION", extracting.VERSION + 1)
    assert extractor().key() != before


def test_several_threads_extract_what_one_does_in_order_even_where_a_backbone_holds_the_grid(monkeypatch):
    torch.manual_seed(0)
    config = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16}
    backbone = create_backbone("beit_base_patch16_224", 64, config).eval()
    random = np.random.default_rng(0)
    sizes = [(64, 64), (64, 96), (96, 64), (64, 128)] * 4
    source = Arrays([random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes])
    source.images[5] = None
    extractor = Extractor(backbone, 64)
    one = extract(source, extractor, range(len(sizes)))
    monkeypatch.setattr(features, "threads_of", lambda device: 4)
    own, count, meeting = extractor._own, itertools.count(), Barrier(2, timeout=300)

    @contextmanager
    def together():
        with own() as maps:
            if next(count) < 2:  # however busy the machine is, two threads have a network at one time
                meeting.wait()
            yield maps

    monkeypatch.setattr(extractor, "_own", together)
    several = extract(source, extractor, range(len(sizes)))
    assert several.indices == one.indices and several.shapes == one.shapes and several.unreadable == one.unreadable
    for left, right in zip(one.arrays, several.arrays, strict=True):
        assert np.array_equal(left, right)
    copies = extractor._idle
    assert len(copies) > 1 and len({id(each) for each in copies}) == len(copies)
    assert len({each.backbone.model.blocks[0].mlp.fc1.weight.data_ptr() for each in copies}) == 1
