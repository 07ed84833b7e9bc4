"""The field's protocols, and a small one for small images.

``fkd``: SRe2L's, also D4M's (yin2023). ``rded``: sun2024. ``rd3``: zhong2025. ``hard``: gu2024, whose code also flips and jitters
colours, which is left out here. All but ``small`` mix every image (CutMix), one λ and one partner per image and epoch, where the
originals draw one λ a batch: labels then do not depend on the batch's size.
"""

from distill.protocols.protocol import Augmentation, Protocol

PRESETS = {
    preset.name: preset
    for preset in (
        Protocol(
            "fkd",
            epochs=300,
            batch=1024,
            augmentation=Augmentation(crop=(0.08, 1.0), flip=True, cutmix=1.0),
            labels="stored",
        ),
        Protocol(
            "rded",
            epochs=300,
            batch=((1, 20), (10, 100), (50, 200)),
            rates={"mobilenetv2": 2.5e-3, "efficientnet_b0": 2e-3, "swin": 1e-4},
            schedule="half-cosine",
            augmentation=Augmentation(patches=2, crop=(0.5, 1.0), flip=True, cutmix=1.0),
        ),
        Protocol(
            "rd3",
            epochs=400,
            batch=50,
            augmentation=Augmentation(crop=(0.08, 1.0), flip=True, cutmix=1.0),
        ),
        Protocol(
            "hard",
            epochs=((10, 2000), (50, 1500), (200, 1000)),
            batch=64,
            optimizer="sgd",
            learning_rate=0.01,
            weight_decay=5e-4,
            schedule="steps",
            temperature=1.0,
            augmentation=Augmentation(crop=(0.5, 1.0), cutmix=1.0),
            labels="hard",
        ),
        Protocol(
            "small",
            steps=300,
            batch=32,
            learning_rate=1e-2,
            schedule="cycle",
            temperature=4.0,
            augmentation=Augmentation(shift=2),
            labels="fixed",
            evaluations=5,
        ),
    )
}
