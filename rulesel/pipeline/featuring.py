"""What a method reads that the store does not hold yet: embeddings, tags, overlap with evaluation sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rulesel.config import SelectConfig
from rulesel.corpus import field_values
from rulesel.digest import digest
from rulesel.errors import UnknownName, UsageError
from rulesel.features import Examples, Feature
from rulesel.features.embedding import Embedding
from rulesel.features.overlap import Overlap
from rulesel.features.tags import Tags
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.receipt import source_of
from rulesel.receipt.offering import labels_of
from rulesel.records import Batch, Float32, Int64
from rulesel.store import CorpusRecord, Store

BATCH = 1024
"""Examples read together."""

MOST = 0.5
"""Share of the examples that an imported embedding must have vectors of to be taken without being named."""


def supply(store: Store, select: SelectConfig, corpus: CorpusRecord, watcher: Watcher) -> dict[str, str]:
    """See to it that the store holds what the method reads; returns the identity of each feature by its role.

    Raises:
        UsageError: an embedding is named that neither the store nor the disk has, or a field of labels that no record
            has.
        Interrupted: the user asked to stop; what was computed is kept.
    """
    reads = select.selector.reads
    found: dict[str, str] = {}
    clusters = select.clusters if "tags" in reads else None
    if "tags" in reads and clusters is None:
        check_labels(store, corpus, select.tags)
    if "embeddings" in reads or clusters is not None:
        found["embeddings"] = embedding_of(store, select, corpus, watcher)
    if clusters is not None:
        tags = Tags(clusters=clusters or None)
        found["tags"] = computed(store, tags, "clusters", corpus, watcher, {"embedding": found["embeddings"]})
    return found


def computed(
    store: Store,
    feature: Feature,
    name: str,
    corpus: CorpusRecord,
    watcher: Watcher,
    needed: dict[str, str] | None = None,
) -> str:
    """Compute a feature for the examples of a corpus that lack it; returns its identity.

    Args:
        store: open for writing.
        feature: what to compute.
        name: what the store calls it.
        corpus: whose examples.
        watcher: told how far it is, and asked whether to stop, after every block.
        needed: identities of the features it builds on, by the names in `needs`.
    """
    contents = np.unique(store.corpora.rows(corpus.corpus).content)
    of_corpus = [corpus.sha256, corpus.mapping, corpus.row_limit] if feature.whole else None
    identity = digest(["feature/1", feature.id, needed or {}, of_corpus])
    room = int(contents.max()) + 1
    table = store.features.find(identity, room)
    missing = np.arange(len(contents)) if table is None else np.flatnonzero(np.isnan(table[contents, 0]))
    if not len(missing) and store.features.has(identity):
        return identity
    watcher.say(f"{name}: {len(missing):,} of {len(contents):,} examples")
    examples = Examples(
        len(contents),
        lambda numbers: _texts(store, contents[numbers]),
        {role: store.features.read(one, contents) for role, one in (needed or {}).items()},
    )
    done = 0
    for vectors in feature.compute(examples, missing):
        table = store.features.table(identity, room, vectors.shape[1]) if table is None else table
        some = contents[missing[done : done + len(vectors)]]
        table[some] = np.where(np.isnan(vectors), np.inf, vectors)
        table.flush()
        done += len(vectors)
        watcher.progress(Progress(name, done, len(missing), "examples"))
        watcher.check()
    provenance = {"feature": feature.model_dump(mode="json"), "corpus": corpus.sha256}
    store.features.register(name, identity, provenance)
    return identity


def overlap(store: Store, against: Sequence[str], corpus: CorpusRecord, watcher: Watcher) -> tuple[Float32, Int64]:
    """Share of each text's runs of 13 words that evaluation files have, kept as the column `overlap`.

    Returns:
        The shares (n,), NaN for a text without a word, and the contents (n,) they are of.
    """
    feature = Overlap(against=tuple(against))
    identity = computed(store, feature, "overlap", corpus, watcher)
    contents = np.unique(store.corpora.rows(corpus.corpus).content)
    share = store.features.read(identity, contents)[:, 0]
    store.columns.add(
        "overlap",
        identity,
        contents,
        share.astype(np.float64),
        direction="lower",
        provenance={"against": [Path(path).name for path in against], "words": feature.words},
    )
    return share, contents


def embedding_of(store: Store, select: SelectConfig, corpus: CorpusRecord, watcher: Watcher) -> str:
    """The embedding that is named; unnamed, an imported one of this corpus, else the projection."""
    named = select.embedding
    if named is None and (imported := _imported(store, corpus, watcher)) is not None:
        return imported
    if named is None or named == "projection":
        return computed(store, Embedding(), "projection", corpus, watcher)
    folder = Path(named).expanduser()
    if folder.is_dir():
        return computed(store, Embedding(model=named), folder.name, corpus, watcher)
    return stored_embedding(store, named)


def stored_embedding(store: Store, named: str) -> str:
    """Identity of the embedding of that name in the store.

    Raises:
        UsageError: there is none.
    """
    if "/" in named:
        raise UsageError(f"There is no model folder {named!r}; a model is given by its folder.")
    try:
        return store.features.named(named)
    except UnknownName as error:
        raise UsageError(
            f"{str(error).rstrip('.')}. `rulesel import embedding` brings vectors of your own; 'projection' and the "
            "folder of a sentence-transformers model are computed here."
        ) from error


def _imported(store: Store, corpus: CorpusRecord, watcher: Watcher) -> str | None:
    """The newest of the imported embeddings that has vectors of most examples of the corpus."""
    contents = np.unique(store.corpora.rows(corpus.corpus).content)
    embeddings = store.features.called("embedding")
    known = {identity: store.features.known(identity, contents) for identity in embeddings}
    best = max(embeddings, key=lambda identity: known[identity], default=None)  # of equal ones the newest
    if best is None:
        return None
    said = f"the imported embedding has vectors of {known[best]:,} of the {len(contents):,} examples"
    if known[best] < MOST * len(contents):
        watcher.say(f"{said}: the projection is used instead (--embedding embedding takes it all the same)")
        return None
    if known[best] < len(contents):
        watcher.say(f"{said}; the others cannot be selected")
    return best


def check_labels(store: Store, corpus: CorpusRecord, field: str) -> None:
    """Raise UsageError if no record has a label in that field."""
    rows = store.corpora.rows(corpus.corpus).row
    for start in range(0, len(rows), BATCH):
        records = store.corpora.records(corpus.corpus, rows[start : start + BATCH])
        if any(map(labels_of, field_values(records, source_of(corpus).format, corpus.header, field))):
            return
    raise UsageError(
        f"No record has a label in a field {field!r}: name the field that holds them with --tags, or leave it out and "
        "clusters of the embeddings are the labels."
    )


def _texts(store: Store, contents: Int64) -> Iterator[Batch]:
    for _, batch in store.corpora.batches(contents, BATCH):
        yield batch
