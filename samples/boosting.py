"""Trains LightGBM on search.parquet with the graded top-k objective: `python samples/boosting.py`.

Needs LightGBM. Half of the queries are held out; after every round their NDCG@10 and loss are computed.
"""

from pathlib import Path

import lightgbm
import numpy as np
import pyarrow.parquet as pq

from lapsum_cli.boosting import objective

FEATURES = ("f_bm25", "f_click", "f_fresh", "f_length")
ROUNDS = 60


def main():
    train, held_out = data_sets(pq.read_table(Path(__file__).parent / "search.parquet"))
    made = objective()  # of the labels and groups that the data sets have
    for name, chosen in (("lambdarank", "lambdarank"), ("graded top-k", made)):
        history = {}
        lightgbm.train(
            {"objective": chosen, "num_leaves": 15, "metric": "None", "verbose": -1, "num_threads": 1},
            train,
            ROUNDS,
            valid_sets=[held_out],
            feval=made.metric("ndcg@10", "loss"),
            callbacks=[lightgbm.record_evaluation(history)],
        )
        first, last = ({what: values[i] for what, values in history["valid_0"].items()} for i in (0, -1))
        print(f"{name}: NDCG@10 {first['ndcg@10']:.3f} after a round, {last['ndcg@10']:.3f} after {ROUNDS}")


def data_sets(table):
    """Every other query, and the rest."""
    query = np.unique(table["qid"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    features = np.stack([table[name].to_numpy() for name in FEATURES], axis=1)
    labels, sets = table["label"].to_numpy(), []
    for half in (query % 2 == 0, query % 2 == 1):
        sizes = np.unique(query[half], return_counts=True)[1]
        sets.append(lightgbm.Dataset(features[half], labels[half], group=sizes, free_raw_data=False))
    return sets


if __name__ == "__main__":
    main()
