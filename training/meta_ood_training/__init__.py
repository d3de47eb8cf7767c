"""Offline half of meta_ood: fine-tuning, segment datasets, meta classifiers, evaluation."""

import os

# As meta_ood_ros does, which may be imported after torch here.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
