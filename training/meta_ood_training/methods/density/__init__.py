"""
Densities of embeddings: how usual what the network sees is, whatever it says about it.

1. `layers`        which embeddings: before the activations, at named layers
2. `embeddings`    a uniform sample of them, with the classes of their patches
3. `mahalanobis`   class means and a tied covariance
4. `neighbours`    the nearest by cosine; `knn`: densities of them
5. `real_nvp`      a learned density; `flow_fit`: how it is fitted
"""
