"""Lloyd steps on every shape of a grid, and on shapes drawn at random, beside scikit-learn and faiss."""
