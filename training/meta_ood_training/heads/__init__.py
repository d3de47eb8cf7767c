"""
What a network is given beside its class logits to tell the unknown: an extra output, a head.

1. `taps`       the inputs of named layers during one forward pass
2. `block`      these maps -> a few more output planes
3. `beside`     `NetworkWithHead`: the network as it is, and the block beside it
4. `dirichlet`  logits as concentrations: divergence, entropy, mutual information, precision
5. `scorers`    upsampled logits and planes -> a score, for each kind of head
6. `head_file`  a head <-> one file beside the network of a bundle
"""
