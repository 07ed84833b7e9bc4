"""Models that do not fit the recipe, are not whole or have changed: refused before anything is made of them."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.graph import build
from distill.recipe import RecipeError, read
from distill.runs.run import _check_sources
from tests.distill.pretrained.parts import made


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("codec", {"kind": "AutoencoderTiny"}, "holds a AutoencoderKL"),
        ("codec", {"path": "/nowhere"}, "is no folder"),
        ("codec", {"path": "some/where"}, r"codec\.revision gives its commit"),
        ("codec", {"subfolder": "unet/x"}, "no readable"),
        ("prior", {"kind": "DiTTransformer2DModel"}, "no readable transformer/config.json"),
        ("prior", {"prompt": "a {thing}"}, "prior.prompt"),
        ("data", {"path": "/nowhere"}, "can't be listed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(table, section, changes, words):
    table[section] |= changes
    with pytest.raises(RecipeError, match=words):
        build(read(table))


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("unet/diffusion_pytorch_model.safetensors", r"no \.safetensors in unet"),
        ("text_encoder/model.safetensors", r"no \.safetensors in text_encoder"),
        ("tokenizer", "lacks the folder tokenizer"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_before_anything_is_made(table, stable_diffusion, tmp_path, lost, words):
    """As weights that come pickled alone: hours later they would be."""
    place = tmp_path / "sd"
    shutil.copytree(stable_diffusion, place)
    (place / lost).rename(tmp_path / "pytorch_model.bin")
    table["prior"]["path"] = str(place)
    with pytest.raises(RecipeError, match=words):
        build(read(table))


@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, -1])
def test_weights_that_were_cut_short_are_refused_before_anything_is_made(table, stable_diffusion, tmp_path, kept):
    """Also where only a pointer to them was fetched."""
    place = tmp_path / "sd"
    shutil.copytree(stable_diffusion, place)
    weights = place / "unet/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    table["prior"]["path"] = str(place)
    with pytest.raises(RecipeError, match=r"unet/diffusion_pytorch_model.safetensors was cut short; fetch it again"):
        build(read(table))
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(RecipeError, match="was cut short"):
        build(read(table))
    weights.write_bytes(whole)
    build(read(table))


def spread(weights, folder=""):
    """The same weights in two files, below a folder of their own or not, and the index by which libraries find them."""
    tensors = load_file(weights)
    names = sorted(tensors)
    halves = {f"{folder}part-{i}.safetensors": names[i::2] for i in (0, 1)}
    for file, half in halves.items():
        (weights.parent / file).parent.mkdir(exist_ok=True)
        save_file({name: tensors[name] for name in half}, weights.parent / file, {"format": "pt"})
    index = weights.with_name(f"{weights.name}.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}))
    weights.unlink()
    return index, [weights.parent / file for file in halves]


SHARDED = ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]


@pytest.mark.parametrize("weights", SHARDED)
def test_a_missing_shard_of_weights_is_refused_before_anything_is_made(table, stable_diffusion, tmp_path, weights):
    place = tmp_path / "sd"
    shutil.copytree(stable_diffusion, place)
    index, shards = spread(place / weights)
    table["prior"]["path"] = str(place)
    build(read(table))
    kept = shards[1].read_bytes()
    shards[1].unlink()
    with pytest.raises(RecipeError, match=rf"{weights}.index.json names part-1.safetensors, which is not in {shards[1].parent};"):
        build(read(table))
    shards[1].symlink_to(tmp_path / "nowhere")  # as a hub's cache that was cleared leaves it
    with pytest.raises(RecipeError, match=r"names part-1.safetensors, which is not in"):
        build(read(table))
    shards[0].unlink()
    with pytest.raises(RecipeError, match=r"names 2 files, such as part-0.safetensors, that are not in"):
        build(read(table))
    for said in ("{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}'):
        index.write_text(said)
        with pytest.raises(RecipeError, match=r"index.json names no files of weights; fetch the model again"):
            build(read(table))
    shards[1].unlink()
    shards[1].write_bytes(kept)
    for elsewhere in (shards[1], "../" + str(shards[1].relative_to(place))):
        index.write_text(json.dumps({"weight_map": {"weight": str(elsewhere)}}))
        with pytest.raises(RecipeError, match="which is not in"):
            build(read(table))


@pytest.mark.parametrize("folder", ["", "deeper/"])
@pytest.mark.parametrize("weights", SHARDED)
def test_a_model_in_shards_is_named_by_all_of_them(table, stable_diffusion, tmp_path, weights, folder):
    def digest():
        return next(stage for stage in build(read(table)) if stage.name == "prior").digest

    place = tmp_path / "sd"
    shutil.copytree(stable_diffusion, place)
    _, shards = spread(place / weights, folder)
    table["prior"]["path"] = str(place)
    seen = {digest()}
    for shard in shards:
        scaled(shard, 1.5)
        seen.add(digest())
    assert len(seen) == 3
    with shards[0].open("r+b") as file:
        file.truncate(200)
    with pytest.raises(RecipeError, match=rf"{shards[0].relative_to(place)} was cut short"):
        build(read(table))


def test_a_model_in_shards_is_the_one_in_a_file(table, stable_diffusion, tmp_path):
    def loaded():
        store, stages = made(table, tmp_path / str(table["prior"]["path"] == str(stable_diffusion)), "prior")
        prior = stages["prior"]
        return prior._kept(store, "unet", "float32").state_dict(), prior._kept(store, "text", "float32")("a church")

    unet, states = loaded()
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    for weights in SHARDED:
        spread(tmp_path / "sd" / weights)
    table["prior"]["path"] = str(tmp_path / "sd")
    again, same = loaded()
    assert all(torch.equal(unet[name], again[name]) for name in unet.keys() | again.keys())
    assert torch.equal(states, same)


def test_channels_and_sides_that_differ_are_refused(dit_table, dit, tmp_path):
    dit_table["data"]["size"] = 64
    with pytest.raises(RecipeError, match="latents of 16 a side, the codec makes 32"):
        build(read(dit_table))
    dit_table["data"]["size"] = 32
    shutil.copytree(dit, tmp_path / "wide")
    config = tmp_path / "wide" / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 4', '"in_channels": 16'))
    dit_table["prior"]["path"] = str(tmp_path / "wide")
    with pytest.raises(RecipeError, match="takes 16 channels, the codec's latents have 4"):
        build(read(dit_table))


def test_a_prior_of_other_classes_is_refused(dit_table):
    dit_table["prior"]["classes"] = "imagenet-1k"
    with pytest.raises(RecipeError, match="knows 3"):
        build(read(dit_table))


def scaled(weights, factor):
    """The same tensors of other values, in a file of the same size."""
    save_file({name: tensor * factor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})


def test_weights_that_changed_since_they_were_recorded_are_not_mixed_in(table, stable_diffusion, tmp_path, monkeypatch):
    """Models of one kind have files of one size."""
    monkeypatch.setattr("distill.models.model_cache._cached", {})
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    table["codec"]["path"] = str(tmp_path / "sd")
    weights = tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors"
    scaled(weights, 1.0)
    store, stages = made(table, tmp_path / "run", "codec")
    record, size = store.values(stages["codec"], "model")["files"], weights.stat().st_size
    assert set(record) == {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}
    older = {name: {"size": each["size"], "sha256": each["sha256"]} for name, each in record.items()}
    stages["codec"]._source.unchanged(older)
    scaled(weights, 1.5)
    assert weights.stat().st_size == size
    with pytest.raises(ValueError, match="files changed"):
        stages["codec"].load(store)
    assert build(read(table))[1].digest != stages["codec"].digest


def test_a_number_in_the_midst_of_a_tensor_is_seen_where_all_is_verified(table, stable_diffusion, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.models.pretrained._ENDS", 8)
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    table["codec"]["path"] = str(tmp_path / "sd")
    store, stages = made(table, tmp_path / "run", "codec")
    _check_sources(list(stages.values()), store)
    weights = tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors"
    whole, about = bytearray(weights.read_bytes()), weights.stat()
    start = 8 + int.from_bytes(whole[:8], "little")
    begin, end = json.loads(whole[8:start])["decoder.conv_in.weight"]["data_offsets"]
    whole[start + (begin + end) // 2] ^= 1
    weights.write_bytes(whole)
    os.utime(weights, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert build(read(table))[1].digest == stages["codec"].digest
    with pytest.raises(RecipeError, match=r"1 files of the codec's model, such as 'vae/.*changed since this run read them"):
        _check_sources(list(stages.values()), store)


def test_a_model_elsewhere_is_the_same_model(table, stable_diffusion, tmp_path):
    before = {stage.title: stage.digest for stage in build(read(table))}
    shutil.copytree(stable_diffusion, tmp_path / "sd")
    table["codec"]["path"] = table["prior"]["path"] = str(tmp_path / "sd")
    after = {stage.title: stage.digest for stage in build(read(table))}
    assert {title for title in before if before[title] != after[title]} == {"report"}
