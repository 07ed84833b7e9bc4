import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill.pipeline.stage import seed_of


def test_the_digest_names_the_folder_and_is_safe_in_a_path(fake):
    stage = fake(name="child", options={"b": 2, "a": [1, None, "é"]})
    assert re.fullmatch(r"[0-9a-f]{12}", stage.digest)
    assert stage.folder_name == f"child-{stage.digest}"


def test_the_digest_changes_with_all_that_decides_the_content(fake):
    def digest(*, name="s", option=1, version=1, below=1):
        return fake(fake(name="p", options={"x": below}), name=name, options={"o": option}, version=version).digest

    digests = [digest(), digest(name="t"), digest(option=2), digest(option=1.5), digest(version=2), digest(below=2)]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]


def test_the_digest_changes_with_a_far_ancestor_and_with_the_order_of_parents(fake):
    def chain(option):
        stage = fake(name="0", options={"o": option})
        for depth in range(1, 5):
            stage = fake(stage, name=str(depth))
        return stage.digest

    assert chain(1) != chain(2)
    a, b = fake(name="a"), fake(name="b")
    assert fake(a, b).digest != fake(b, a).digest


def test_the_order_of_options_and_the_names_of_parts_do_not_matter(fake):
    assert fake(options={"a": 1, "b": 2}).digest == fake(options={"b": 2, "a": 1}).digest
    assert fake(parts=("a",)).digest == fake(parts=("a", "b")).digest


def test_digests_and_seeds_are_the_same_in_another_process(fake):
    script = """
from distill.pipeline.stage import Stage, seed_of
class Fake(Stage):
    name = "fake"
    def options(self): return {"z": 1, "a": {"y": [1.5, True]}}
    def parts(self): return []
    def make(self, part, read, progress): return {}
print(Fake().digest, seed_of("noise", "0003-three", 7))
"""
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    here = fake(options={"z": 1, "a": {"y": [1.5, True]}})
    assert done.stdout.split() == [here.digest, str(seed_of("noise", "0003-three", 7))]


def test_seeds_fit_a_signed_word_and_use_it():
    seeds = [seed_of("part", i) for i in range(4000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    # The mean of n uniform draws on [0, 1) has standard deviation (12 n)^-1/2; six of them leave a chance of 2e-9 to fail.
    assert abs(sum(seeds) / 2**63 / len(seeds) - 0.5) < 6 / (12 * len(seeds)) ** 0.5


def test_seeds_depend_on_every_name_and_on_their_order():
    assert seed_of("a", 1) != seed_of("a", 2)
    assert seed_of("a", "b") != seed_of("b", "a")
    assert seed_of("a", 11) != seed_of("a", 1, 1)
    assert seed_of("a", 1) == seed_of("a", "1")


@pytest.mark.parametrize(("names", "value"), [(("a",), "a"), (("a", 1), "a/1")])
def test_seeds_are_sixty_three_bits_of_sha256(names, value):
    assert seed_of(*names) == int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], "big") // 2


def test_stages_of_two_packages_are_two_whatever_their_options(fake):
    class Registered(type(fake())):
        registered = "theirs"

    class Other(type(fake())):
        registered = "others"

    assert len({kind(name="s").digest for kind in (type(fake()), Registered, Other)}) == 3


def test_no_file_of_the_stages_is_longer_than_two_hundred_lines():
    folder = Path(__file__).resolve().parents[2] / "distill" / "stages"
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.glob("*.py")}
    assert max(lengths.values()) <= 200, lengths


def test_a_stage_says_nothing_of_what_it_costs():
    """Costs stand in one table, for every kind whose parts take time or room to speak of."""
    from distill.costs import _TABLE

    quick = {"AllStage", "RandomStage", "NearestStage", "EvaluateStage", "ReportStage", "ExternalImagesStage"}
    quick |= {"PretrainedCodecStage", "PretrainedPriorStage", "FeatureSpaceStage", "StartLatentsStage"}
    quick |= {"NearestBalancedStage", "CountsStage", "StratifiedStage", "StratifiedMassStage", "ThinnedStage"}
    known = {kind.__name__ for kind in _TABLE}
    folder = Path(__file__).resolve().parents[2] / "distill" / "stages"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    stages = {name for name, bases in re.findall(r"^class (\w+Stage)\(([\w, ]+)\):", source, re.MULTILINE)}
    bases = {"CodecStage", "PriorStage", "TeacherStage", "SpaceStage", "LatentStage", "SelectStage", "RealStage", "StudentsStage"}
    assert stages - bases == known | quick
    assert not known & quick
    assert "distill.costs" not in source.replace(":mod:`distill.costs`", "")
