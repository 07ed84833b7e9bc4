"""The networks that are ours, the one training loop, and the sampler; autoencoder, transformer and schedulers are diffusers'."""
