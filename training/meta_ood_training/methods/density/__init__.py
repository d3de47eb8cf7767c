"""
Densities of embeddings: how usual what the network sees is, whatever it says about it.

1. `embeddings`    a uniform sample of them, with the classes of their patches
2. `mahalanobis`   class means and a tied covariance
3. `neighbours`    the nearest by cosine; `knn`: densities of them
4. `scorers`       these as scores of the features before the last layer
5. `real_nvp`      a learned density; `flow_fit`: how it is fitted
6. `flow_scorer`   it as a score, at one layer or joined over several; `flow_method`: all of it
7. `entries`       all of it in the registry
"""
