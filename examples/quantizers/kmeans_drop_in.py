r"""
A drop-in for scikit-learn's KMeans
===================================

:class:`~quantization.OptimalQuantizer` has KMeans's parameters, defaults and attributes, and works in pipelines and parameter
searches. In addition it has the masses of the cells, clusters of equal masses and a certificate.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from quantization import OptimalQuantizer

x = load_digits().data
ours = make_pipeline(PCA(20, random_state=0), OptimalQuantizer(10, n_init=10, random_state=0)).fit(x)
theirs = make_pipeline(PCA(20, random_state=0), KMeans(10, n_init=10, random_state=0)).fit(x)
print("inertia:", ours[-1].inertia_, theirs[-1].inertia_)

# %%
# The same with clusters of equal size.
equal = make_pipeline(PCA(20, random_state=0), OptimalQuantizer(10, masses="uniform", random_state=0)).fit(x)
print(np.bincount(ours[-1].labels_), np.bincount(equal[-1].labels_))

fig, axes = plt.subplots(2, 10, figsize=(10, 2.6), layout="constrained")
for row, model in zip(axes, (ours, equal), strict=True):
    images = model[0].inverse_transform(model[-1].cluster_centers_)
    for ax, image, weight in zip(row, images, model[-1].weights_, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.set_title(f"{100 * weight:.1f} %", fontsize=8)
        ax.set_axis_off()
fig.suptitle("centres and their masses: free above, uniform below", fontsize=10)
plt.show()
